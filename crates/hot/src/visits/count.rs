//! Counts the current visitors to a host and its pages.

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

/// The maximum number of visits, and of visitors, that one script call removes. The call blocks
/// Redis for a few milliseconds.
const REMOVALS_PER_CALL: usize = 2_500;
/// The maximum number of pages in one command or script call.
const PAGES_PER_CALL: usize = 500;

/// The number of visitors per page, by the hash of the page.
type PageCounts = HashMap<String, u64>;

/// The stored visits to a host at one point in time.
struct StoredVisits {
    at: Timestamp,
    /// The lowest sampling class (`ShortHash::class`) whose visitors are counted.
    counted: u32,
    /// The number of pages with a name.
    names: usize,
    /// Per class, the number of visitors to each page.
    pages: Vec<PageCounts>,
    /// Per class, the number of visitors to the host.
    visitors: Vec<u64>,
}

impl Visits<'_> {
    /// Removes the expired visitors to a host, according to the Redis clock, and counts the current
    /// visitors to the host and to its top pages. Visitors whose last heartbeat was recorded before
    /// the Redis clock was set back count as expired. O(v log n + p log p) for v expired visits, n
    /// stored visits and p pages.
    ///
    /// A visitor counts once per page and once per host. If the sample is `exact`, all visitors are
    /// counted. Otherwise, only the visitors of some sampling class c or a higher class are
    /// counted. Each counted visitor represents 2^c visitors, and the numbers are unbiased
    /// estimates. With m counted visitors, the relative standard error is sqrt((1 - 2^-c) / m),
    /// which is less than 1 / sqrt(m). If each visitor to a host visits only one page, m is usually
    /// between a quarter of `visits.exact_max` and `visits.exact_max`. For a maximum of 100,000,
    /// 1 / sqrt(m) is then 0.3% to 0.6%. Whether a visitor is counted depends only on c and the
    /// visitor's hash. While c stays the same, a change between two samples therefore comes only
    /// from visitors who arrived or left, not from another selection of visitors (P. Flajolet, "On
    /// adaptive sampling", Computing 43, 1990).
    ///
    /// The estimate for a host is at most about 2^12 times `visits.exact_max`.
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

    /// Removes some of the expired visitors. If none remain, adjusts which classes are stored and
    /// counted. Returns whether more expired visitors may remain.
    async fn remove_expired_visitors(
        self,
        host: &Host,
        settings: &settings::VisitsSettings,
    ) -> Result<bool, HotError> {
        let mut call = REMOVE_VISITORS.prepare_invoke();
        call.key(self.store.keys.visits(host).prefix()).arg(millis(settings.ttl));
        call.arg(REMOVALS_PER_CALL).arg(settings.exact_max);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Reads the visits to a host in one pipeline. The pipeline is not a transaction, because a
    /// full Redis rejects transactions, even those that only read. If Redis executes other commands
    /// in between, which is rare, a new visitor may count for the host but not for the page. The
    /// lowest counted class is read last, so that a class that is removed in between is not
    /// counted.
    async fn read_visits(self, host: &Host) -> Result<StoredVisits, HotError> {
        let keys = self.store.keys.visits(host);
        let mut pipe = redis::pipe();
        pipe.cmd("TIME").hlen(keys.names());
        for class in 0..CLASSES {
            pipe.hgetall(keys.page_counts(class)).zcard(keys.visitors(class));
        }
        pipe.hget(keys.state(), "counted");
        let replies: Vec<redis::Value> =
            self.store.call(async |connection| pipe.query_async(connection).await).await?;
        Ok(parse_visits(replies)?)
    }

    /// Removes the names of pages without visitors. A name is left over if the classes of all
    /// visitors to the page were removed.
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
            call.key(keys.prefix()).arg(chunk);
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

/// Parses the name of a page: the path, and optionally a zero byte and the title.
fn parse_page(name: &str, visitors: u64) -> PageVisitors {
    let (path, title) = match name.split_once('\0') {
        Some((path, title)) => (path, Some(title.to_owned())),
        None => (name, None),
    };
    PageVisitors { path: path.to_owned(), title, visitors }
}

impl StoredVisits {
    /// Returns the pages that may be top pages, with their numbers of visitors. Includes all pages
    /// with as many visitors as the last top page, because ties are resolved by path.
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

/// Parses the time, the number of names, two replies per class, and the lowest counted class.
fn parse_visits(replies: Vec<redis::Value>) -> Result<StoredVisits, RedisError> {
    let mut replies = replies.into_iter();
    let mut next = || replies.next().unwrap_or(redis::Value::Nil);
    let (seconds, micros): (i64, i64) = redis::from_redis_value(next())?;
    let names = redis::from_redis_value(next())?;
    let (mut pages, mut visitors) = (Vec::new(), Vec::new());
    for _ in 0..CLASSES {
        pages.push(redis::from_redis_value(next())?);
        visitors.push(redis::from_redis_value(next())?);
    }
    let counted: Option<u32> = redis::from_redis_value(next())?;
    let at = Timestamp::from_millis(seconds * 1_000 + micros / 1_000);
    // Scripts never write a class above the maximum, but another program could, and the shift could
    // overflow.
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
    fn counted_visitor_represents_visitors_of_uncounted_classes() {
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
