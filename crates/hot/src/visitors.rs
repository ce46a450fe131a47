//! Counting visitors: how many are on which page of a host, now.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
    time::Duration,
};

use deadpool_redis::redis::{self, RedisError, Script};
use mayfly_core::{Host, PageVisitors, Sample, Timestamp, limits, visit::CLASSES};
use mayfly_runtime::settings;

use crate::{accept::millis, error::HotError, pool::Hot};

static FORGET_VISITORS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        "#!lua flags=allow-oom\n",
        include_str!("scripts/visitors.lua"),
        include_str!("scripts/forget_visitors.lua")
    ))
});
static FORGET_PAGES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        "#!lua flags=allow-oom\n",
        include_str!("scripts/visitors.lua"),
        include_str!("scripts/forget_pages.lua")
    ))
});
static LIST_HOSTS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/list_visited_hosts.lua")));
static FORGET_HOST: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/forget_visited_host.lua")));

/// Visits that one step forgets, and visitors, each at most: Redis is blocked for some milliseconds.
const FORGOTTEN_AT_ONCE: usize = 2_500;
/// Pages that one command names.
const PAGES_AT_ONCE: usize = 500;
/// A host whose last visitor left longer ago is not listed any more, also where nobody counted since.
const HOSTS_LINGER: Duration = Duration::from_secs(60);

/// Pages, by their marks, and how many visitors they have.
type Counts = HashMap<String, u64>;

/// What is kept of a host, at one instant.
struct Kept {
    at: Timestamp,
    /// From which class on visitors are counted.
    counted: u32,
    /// Pages that have a name.
    names: usize,
    /// Of each class, its pages.
    pages: Vec<Counts>,
    /// Of each class, how many visitors it has on the host.
    visitors: Vec<u64>,
}

impl Hot {
    /// Hosts that have visitors, at most `visits.hosts_max`, and those that all have left a short while
    /// ago: [`forget_visited_host`](Self::forget_visited_host) is for whoever has seen that.
    pub async fn list_visited_hosts(&self, ttl: Duration) -> Result<Vec<Host>, HotError> {
        let mut call = LIST_HOSTS.prepare_invoke();
        call.key(self.keys.visited_hosts()).arg(millis(ttl + HOSTS_LINGER));
        let hosts: Vec<String> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(hosts.into_iter().filter_map(|host| Host::parse(host).ok()).collect())
    }

    /// Forgets a host that all visitors have left; does nothing where somebody came meanwhile.
    pub async fn forget_visited_host(&self, host: &Host, ttl: Duration) -> Result<(), HotError> {
        let mut call = FORGET_HOST.prepare_invoke();
        call.key(self.keys.visited_hosts()).arg(host.as_str()).arg(millis(ttl));
        self.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Counts the visitors of a host's top pages now, by the clock of Redis; forgets those who left.
    /// What that costs grows with those who left, and with the pages of the host.
    ///
    /// A visitor counts once on each page, and once on the host. Where the sample is `exact`, each is
    /// counted. Else every visitor counted stands for 2^level, and the numbers are estimates without
    /// bias: of a page for which n visitors were counted, with a standard error of
    /// sqrt((1 - 2^-level) / n), relative to the number, which is less than 1 / sqrt(n). Of the host as
    /// a whole n is between a quarter of `visits.exact_max` and all of it where each is on one page: at
    /// 100,000 that is an error of 0.3 to 0.6 %. Whether a visitor is counted depends on its mark alone, therefore
    /// the same ones are from sample to sample, and changes are as good as numbers (P. Flajolet, "On
    /// adaptive sampling", Computing 43, 1990).
    ///
    /// More than 2^12 times `visits.exact_max` visits of a host are counted as about so many.
    pub async fn count_visitors(
        &self,
        host: &Host,
        settings: &settings::Visits,
    ) -> Result<Sample, HotError> {
        while self.forget_visitors(host, settings).await? {}
        let kept = self.find_kept(host).await?;
        let named: HashSet<&String> = kept.pages.iter().flat_map(Counts::keys).collect();
        if kept.names > named.len() {
            self.forget_pages(host, &named).await?;
        }
        Ok(Sample {
            host: host.clone(),
            sampled_at: kept.at,
            visitors: kept.visitors.iter().skip(kept.counted as usize).sum::<u64>() << kept.counted,
            exact: kept.counted == 0,
            pages: self.find_top(host, &kept).await?,
        })
    }

    /// Forgets some of those who left; gives whether there may be more.
    async fn forget_visitors(
        &self,
        host: &Host,
        settings: &settings::Visits,
    ) -> Result<bool, HotError> {
        let mut call = FORGET_VISITORS.prepare_invoke();
        call.key(self.keys.visits(host)).arg(millis(settings.ttl));
        call.arg(FORGOTTEN_AT_ONCE).arg(settings.exact_max);
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// What is kept of a host, in one step: a visitor who comes meanwhile is on its page and on its
    /// host, or on neither.
    async fn find_kept(&self, host: &Host) -> Result<Kept, HotError> {
        let key = self.keys.visits(host);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("TIME").hget(&key, "counted").hlen(format!("{key}:names"));
        for class in 0..CLASSES {
            pipe.hgetall(format!("{key}:c{class}")).zcard(format!("{key}:v{class}"));
        }
        let answers: Vec<redis::Value> =
            self.call(async |connection| pipe.query_async(connection).await).await?;
        Ok(read_kept(answers)?)
    }

    /// Forgets the names of pages that nobody visits: those whose visitors were in classes that went.
    async fn forget_pages(&self, host: &Host, visited: &HashSet<&String>) -> Result<(), HotError> {
        let key = self.keys.visits(host);
        let names: Vec<String> = self
            .call(async |connection| {
                redis::cmd("HKEYS").arg(format!("{key}:names")).query_async(connection).await
            })
            .await?;
        let left: Vec<_> = names.iter().filter(|page| !visited.contains(page)).collect();
        for pages in left.chunks(PAGES_AT_ONCE) {
            let mut call = FORGET_PAGES.prepare_invoke();
            call.key(&key).arg(pages);
            self.call(async |connection| call.invoke_async::<()>(connection).await).await?;
        }
        Ok(())
    }

    /// The top pages with their names.
    async fn find_top(&self, host: &Host, kept: &Kept) -> Result<Vec<PageVisitors>, HotError> {
        let names_key = format!("{}:names", self.keys.visits(host));
        let mut pages = Vec::new();
        for chunk in kept.candidates().chunks(PAGES_AT_ONCE) {
            let mut command = redis::cmd("HMGET");
            command.arg(&names_key);
            for (page, _) in chunk {
                command.arg(page);
            }
            let names: Vec<Option<String>> =
                self.call(async |connection| command.query_async(connection).await).await?;
            let labelled = chunk.iter().zip(names);
            pages
                .extend(labelled.filter_map(|((_, visitors), name)| Some(page(&name?, *visitors))));
        }
        Sample::rank(&mut pages);
        Ok(pages)
    }
}

fn page(name: &str, visitors: u64) -> PageVisitors {
    let (path, title) = match name.split_once('\0') {
        Some((path, title)) => (path, Some(title.to_owned())),
        None => (name, None),
    };
    PageVisitors { path: path.to_owned(), title, visitors }
}

impl Kept {
    /// The pages that may be among the top ones, with their visitors: of those that have as many as the
    /// last of them, all, for it is the name that decides.
    fn candidates(&self) -> Vec<(&str, u64)> {
        let mut sums: HashMap<&str, u64> = HashMap::new();
        for (page, visitors) in self.pages.iter().skip(self.counted as usize).flatten() {
            *sums.entry(page).or_default() += visitors << self.counted;
        }
        let mut pages: Vec<_> = sums.into_iter().collect();
        pages.sort_unstable_by_key(|(_, visitors)| std::cmp::Reverse(*visitors));
        let least = pages.get(limits::SAMPLE_PAGES_MAX - 1).map_or(0, |last| last.1);
        pages.retain(|(_, visitors)| *visitors >= least);
        pages
    }
}

/// Reads the time, which class is counted, how many names there are, and two answers of each class.
fn read_kept(answers: Vec<redis::Value>) -> Result<Kept, RedisError> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(redis::Value::Nil);
    let (seconds, micros): (i64, i64) = redis::from_redis_value(next())?;
    let counted: Option<u32> = redis::from_redis_value(next())?;
    let names = redis::from_redis_value(next())?;
    let (mut pages, mut visitors) = (Vec::new(), Vec::new());
    for _ in 0..CLASSES {
        pages.push(redis::from_redis_value(next())?);
        visitors.push(redis::from_redis_value(next())?);
    }
    let at = Timestamp::from_millis(seconds * 1_000 + micros / 1_000);
    // Shifting by more would be no number; no script writes it.
    let counted = counted.unwrap_or(0).min(CLASSES - 1);
    Ok(Kept { at, counted, names, pages, visitors })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(counted: u32, classes: &[&[(&str, u64)]]) -> Kept {
        let pages = |class: &&[(&str, u64)]| {
            class.iter().map(|(page, visitors)| ((*page).to_owned(), *visitors)).collect()
        };
        Kept {
            at: Timestamp::from_millis(0),
            counted,
            names: 0,
            pages: classes.iter().map(pages).collect(),
            visitors: Vec::new(),
        }
    }

    #[test]
    fn a_visitor_counted_stands_for_all_that_are_not() {
        let kept = kept(1, &[&[("a", 100)], &[("a", 3), ("b", 1)], &[("a", 2)]]);
        assert_eq!(kept.candidates(), [("a", 10), ("b", 2)]);
    }

    #[test]
    fn of_pages_with_as_many_visitors_all_are_looked_at() {
        let names: Vec<_> = (0..150).map(|n| format!("{n:03}")).collect();
        let one: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(kept(0, &[&one]).candidates().len(), 150);
        let rising: Vec<_> = names.iter().zip(0..).map(|(name, n)| (name.as_str(), n)).collect();
        assert_eq!(kept(0, &[&rising]).candidates().len(), limits::SAMPLE_PAGES_MAX);
    }

    #[test]
    fn a_title_stands_behind_a_path() {
        assert_eq!(page("/a", 1).title, None);
        let titled = page("/a\0A title", 1);
        assert_eq!((titled.path.as_str(), titled.title.as_deref()), ("/a", Some("A title")));
    }
}
