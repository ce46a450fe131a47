//! Counting the current visitors of a host and its pages.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use deadpool_redis::redis::{self, RedisError};
use mayfly_core::{Host, PageVisitors, Sample, Timestamp, limits, trends::CLASSES};
use mayfly_runtime::settings;

use crate::{
    connection::{HotError, millis, script},
    visits::Visits,
};

script!(
    REMOVE_VISITORS,
    "#!lua flags=allow-oom\n",
    include_str!("visitors.lua"),
    include_str!("remove_expired_visitors.lua"),
);
script!(
    REMOVE_PAGES,
    "#!lua flags=allow-oom\n",
    include_str!("visitors.lua"),
    include_str!("remove_unvisited_pages.lua"),
);

/// The maximum number of visits, and of visitors, that one script removes: it blocks Redis for some
/// milliseconds.
const REMOVALS_PER_CALL: usize = 2_500;
/// Pages in one command.
const PAGES_PER_CALL: usize = 500;

/// Visitors by the hash of a page.
type PageCounts = HashMap<String, u64>;

/// The stored visits of a host at one point in time.
struct StoredVisits {
    at: Timestamp,
    /// The first class of visitors that is counted.
    counted: u32,
    /// The number of pages with a name.
    names: usize,
    /// Per class, the visitors of its pages.
    pages: Vec<PageCounts>,
    /// Per class, the visitors of the host.
    visitors: Vec<u64>,
}

impl Visits<'_> {
    /// Counts the visitors of a host and its top pages by the clock of Redis, and removes those
    /// whose last heartbeat has expired. O(v log n + p) for v expired visits of n, and p pages.
    ///
    /// A visitor counts once per page and once per host. If the sample is `exact`, all visitors are
    /// counted. Otherwise each counted visitor represents 2^level ones, and the numbers are
    /// unbiased estimates. With n counted visitors, the relative standard error is
    /// sqrt((1 - 2^-level) / n), which is less than 1 / sqrt(n). For a host whose visitors are on
    /// one page each, n is between `visits.exact_max` and a quarter of it: at 100,000 the error is
    /// 0.3 to 0.6 %. Whether a visitor is counted depends on its hash alone, so successive samples
    /// count the same visitors and changes are as accurate as numbers (P. Flajolet, "On adaptive
    /// sampling", Computing 43, 1990).
    ///
    /// A host with more than 2^12 times `visits.exact_max` visits is counted as about that many.
    pub async fn count_visitors(
        self,
        host: &Host,
        settings: &settings::VisitsSettings,
    ) -> Result<Sample, HotError> {
        while self.remove_expired_visitors(host, settings).await? {}
        let visits = self.read_visits(host).await?;
        let visited: HashSet<&String> = visits.pages.iter().flat_map(PageCounts::keys).collect();
        if visits.names > visited.len() {
            self.remove_unvisited_pages(host, &visited).await?;
        }
        let counted = visits.visitors.iter().skip(visits.counted as usize);
        Ok(Sample {
            host: host.clone(),
            sampled_at: visits.at,
            visitors: counted.sum::<u64>() << visits.counted,
            exact: visits.counted == 0,
            pages: self.find_top_pages(host, &visits).await?,
        })
    }

    /// Removes some of the expired visitors. Returns whether there may be more.
    async fn remove_expired_visitors(
        self,
        host: &Host,
        settings: &settings::VisitsSettings,
    ) -> Result<bool, HotError> {
        let mut call = REMOVE_VISITORS.prepare_invoke();
        call.key(self.store.keys.visits(host).beginning()).arg(millis(settings.ttl));
        call.arg(REMOVALS_PER_CALL).arg(settings.exact_max);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Reads the visits of a host in one transaction, so that a new visitor is on both its page and
    /// its host, or on neither.
    async fn read_visits(self, host: &Host) -> Result<StoredVisits, HotError> {
        let keys = self.store.keys.visits(host);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("TIME").hget(keys.state(), "counted").hlen(keys.names());
        for class in 0..CLASSES {
            pipe.hgetall(keys.page_counts(class)).zcard(keys.visitors(class));
        }
        let replies: Vec<redis::Value> =
            self.store.call(async |connection| pipe.query_async(connection).await).await?;
        Ok(parse_visits(replies)?)
    }

    /// Removes the names of pages without visitors: those whose visitors were in removed classes.
    async fn remove_unvisited_pages(
        self,
        host: &Host,
        visited: &HashSet<&String>,
    ) -> Result<(), HotError> {
        let keys = self.store.keys.visits(host);
        let names = keys.names();
        let pages: Vec<String> = self
            .store
            .call(async |connection| redis::cmd("HKEYS").arg(names).query_async(connection).await)
            .await?;
        let unvisited: Vec<_> = pages.iter().filter(|page| !visited.contains(page)).collect();
        for chunk in unvisited.chunks(PAGES_PER_CALL) {
            let mut call = REMOVE_PAGES.prepare_invoke();
            call.key(keys.beginning()).arg(chunk);
            self.store.call(async |connection| call.invoke_async::<()>(connection).await).await?;
        }
        Ok(())
    }

    async fn find_top_pages(
        self,
        host: &Host,
        visits: &StoredVisits,
    ) -> Result<Vec<PageVisitors>, HotError> {
        let names_key = self.store.keys.visits(host).names();
        let mut pages = Vec::new();
        for chunk in visits.top_candidates().chunks(PAGES_PER_CALL) {
            let mut command = redis::cmd("HMGET");
            command.arg(&names_key);
            for (page, _) in chunk {
                command.arg(page);
            }
            let names: Vec<Option<String>> =
                self.store.call(async |connection| command.query_async(connection).await).await?;
            for ((_, visitors), name) in chunk.iter().zip(names) {
                pages.extend(name.map(|name| parse_page(&name, *visitors)));
            }
        }
        Sample::rank(&mut pages);
        Ok(pages)
    }
}

/// Parses the name of a page: its path, and after a zero byte its title.
fn parse_page(name: &str, visitors: u64) -> PageVisitors {
    let (path, title) = match name.split_once('\0') {
        Some((path, title)) => (path, Some(title.to_owned())),
        None => (name, None),
    };
    PageVisitors { path: path.to_owned(), title, visitors }
}

impl StoredVisits {
    /// Returns the pages that may be top pages, with their visitors. Includes all pages with as
    /// many visitors as the last top page, because ties are resolved by name.
    fn top_candidates(&self) -> Vec<(&str, u64)> {
        let mut sums: HashMap<&str, u64> = HashMap::new();
        for (page, visitors) in self.pages.iter().skip(self.counted as usize).flatten() {
            *sums.entry(page).or_default() += visitors << self.counted;
        }
        let mut pages: Vec<_> = sums.into_iter().collect();
        pages.sort_unstable_by_key(|(_, visitors)| Reverse(*visitors));
        let least = pages.get(limits::SAMPLE_PAGES_MAX - 1).map_or(0, |last| last.1);
        pages.retain(|(_, visitors)| *visitors >= least);
        pages
    }
}

/// Parses the time, the first counted class, the number of names, and two replies per class.
fn parse_visits(replies: Vec<redis::Value>) -> Result<StoredVisits, RedisError> {
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap_or(redis::Value::Nil);
    let (seconds, micros): (i64, i64) = redis::from_redis_value(next())?;
    let counted: Option<u32> = redis::from_redis_value(next())?;
    let names = redis::from_redis_value(next())?;
    let (mut pages, mut visitors) = (Vec::new(), Vec::new());
    for _ in 0..CLASSES {
        pages.push(redis::from_redis_value(next())?);
        visitors.push(redis::from_redis_value(next())?);
    }
    let at = Timestamp::from_millis(seconds * 1_000 + micros / 1_000);
    // Scripts never write more; a larger shift would overflow.
    let counted = counted.unwrap_or(0).min(CLASSES - 1);
    Ok(StoredVisits { at, counted, names, pages, visitors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored_visits(counted: u32, classes: &[&[(&str, u64)]]) -> StoredVisits {
        let pages = |class: &&[(&str, u64)]| {
            class.iter().map(|(page, visitors)| ((*page).to_owned(), *visitors)).collect()
        };
        StoredVisits {
            at: Timestamp::from_millis(0),
            counted,
            names: 0,
            pages: classes.iter().map(pages).collect(),
            visitors: Vec::new(),
        }
    }

    #[test]
    fn counted_visitor_represents_those_of_other_classes() {
        let visits = stored_visits(1, &[&[("a", 100)], &[("a", 3), ("b", 1)], &[("a", 2)]]);
        assert_eq!(visits.top_candidates(), [("a", 10), ("b", 2)]);
    }

    #[test]
    fn all_pages_that_tie_with_the_last_top_page_are_candidates() {
        let names: Vec<_> = (0..150).map(|n| format!("{n:03}")).collect();
        let one: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(stored_visits(0, &[&one]).top_candidates().len(), 150);
        let distinct: Vec<_> = names.iter().zip(0..).map(|(name, n)| (name.as_str(), n)).collect();
        let candidates = stored_visits(0, &[&distinct]).top_candidates().len();
        assert_eq!(candidates, limits::SAMPLE_PAGES_MAX);
    }

    #[test]
    fn title_follows_the_path() {
        assert_eq!(parse_page("/a", 1).title, None);
        let titled = parse_page("/a\0A title", 1);
        assert_eq!((titled.path.as_str(), titled.title.as_deref()), ("/a", Some("A title")));
    }
}
