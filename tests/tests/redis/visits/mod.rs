//! Visits.

mod accept;
mod count;
mod sampling;

use std::time::Duration;

use mayfly_core::{
    Sample, ShortHash, Timestamp, Visit,
    trends::{PagePath, PageTitle, Visitor},
};
use mayfly_hot::{ExhaustedClients, VisitWriteRequest, VisitWriter, WriteOutcome};

use crate::{TestStore, host};

const HOST: &str = "a.org";

pub(crate) fn visit(path: &str, visitor: &str) -> Visit {
    Visit {
        host: host(HOST),
        path: PagePath::parse(path).expect("a path"),
        title: None,
        visitor: Visitor::parse(visitor).expect("a visitor"),
    }
}

fn titled(visit: Visit, title: &str) -> Visit {
    Visit { title: Some(PageTitle::parse(title).expect("a title")), ..visit }
}

fn on_host(name: &str, visit: Visit) -> Visit {
    Visit { host: host(name), ..visit }
}

/// Returns one visit to a page by each of `visitors` visitors, who are numbered from `from`.
fn crowd(path: &str, from: u32, visitors: u32) -> Vec<Visit> {
    (from..from + visitors).map(|number| visit(path, &number.to_string())).collect()
}

pub(crate) fn write_request(visits: Vec<Visit>) -> VisitWriteRequest {
    VisitWriteRequest { visits, client: "client".into(), limit: None, idempotency: None }
}

impl TestStore {
    pub(crate) fn visit_writer(&self) -> VisitWriter {
        VisitWriter::start(&self.hot, &self.settings, ExhaustedClients::default())
    }

    async fn write_visits(&self, visits: Vec<Visit>) -> WriteOutcome {
        self.visit_writer().write(write_request(visits)).await.expect("Redis responds")
    }

    /// Writes visits and asserts that they are accepted.
    async fn visit(&self, visits: Vec<Visit>) {
        assert_eq!(self.write_visits(visits).await, WriteOutcome::Accepted(None));
    }

    async fn count_visitors(&self) -> Sample {
        let sample = self.hot.visits().count_visitors(&host(HOST), &self.settings.visits).await;
        sample.expect("Redis responds")
    }

    /// Returns the path and the number of visitors of each counted page.
    pub(crate) async fn count_pages(&self) -> Vec<(String, u64)> {
        let sample = self.count_visitors().await;
        sample.pages.into_iter().map(|page| (page.path, page.visitors)).collect()
    }

    /// Sets the last heartbeat of visits to `age` ago.
    async fn let_age(&self, visits: &[Visit], age: Duration) {
        self.set_heartbeats(visits, self.now().await.minus(age)).await;
    }

    /// Sets the time of the last heartbeat of visits.
    async fn set_heartbeats(&self, visits: &[Visit], at: Timestamp) {
        let at = at.as_millis().to_string();
        for Visit { host, path, visitor, .. } in visits {
            let (page, visitor) = (ShortHash::new(path.as_str()), ShortHash::new(visitor.as_str()));
            let (keys, class) = (self.keys().visits(host), visitor.class());
            let visitor = visitor.to_hex();
            let member = format!("{}{visitor}", page.to_hex());
            self.query::<()>(&["ZADD", &keys.visits(class), "XX", &at, &member]).await;
            self.query::<()>(&["ZADD", &keys.visitors(class), "XX", &at, &visitor]).await;
        }
    }

    /// Sets the last heartbeat of visits to a minute ago, so that the visits have expired.
    async fn let_visits_expire(&self, visits: &[Visit]) {
        self.let_age(visits, Duration::from_secs(60)).await;
    }

    /// Returns the number of pages whose names are stored.
    async fn stored_names(&self) -> u64 {
        self.query(&["HLEN", &self.keys().visits(&host(HOST)).names()]).await
    }
}
