//! The channel filters of one worker: the pattern sets of the connections that subscribe to all
//! channels that their credentials allow.
//!
//! A filter is compared with the name of a channel once. The result is cached for all messages on
//! the channel and for all connections with an equal pattern set.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    hash::{Hash, Hasher},
    rc::{Rc, Weak},
};

use mayfly_auth::Names;

/// Maximum number of channels for which results are cached.
const CHANNELS_MAX: usize = 10_000;
/// Maximum number of cached matches, over all channels. They occupy 8 MB.
const MATCHES_MAX: usize = 1_000_000;
/// Number of cached matches of a channel from which on removed filters are searched for.
const PRUNE_MIN: usize = 16;
/// Maximum number of new filters that are all compared with a channel. If there are more, only
/// those with a pattern that begins like the name of the channel are compared.
const SCANNED_MAX: u64 = 64;

/// The filters of one worker. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct ChannelFilters(Rc<RefCell<State>>);

/// A pattern set. It is removed from the filters of the worker when it is dropped.
pub(super) struct ChannelFilter {
    /// Identifies the filter in its worker. Never reused.
    number: u64,
    patterns: Names,
    filters: ChannelFilters,
}

#[derive(Default)]
struct State {
    by_patterns: HashMap<Names, Weak<ChannelFilter>>,
    by_number: BTreeMap<u64, Names>,
    /// The numbers of the filters, in ascending order, by the part of a pattern before its first
    /// `*`. Otherwise, the first message on a channel would be compared with the filters of all
    /// clients.
    by_prefix: HashMap<Box<str>, Vec<u64>>,
    next_number: u64,
    /// The cached results, by channel.
    channels: HashMap<Rc<str>, CachedMatches>,
    /// The channels with cached results, oldest first.
    order: VecDeque<Rc<str>>,
    /// Number of cached matches, over all channels.
    matches: usize,
}

/// The filters that match a channel.
#[derive(Default)]
struct CachedMatches {
    /// The filters with a smaller number have been compared with the channel.
    compared_below: u64,
    /// The numbers of the matching filters, in ascending order. Some filters may have been removed.
    numbers: Vec<u64>,
    /// The number of matches at which removed filters are searched for again.
    prune_at: usize,
}

impl ChannelFilters {
    /// Returns the filter for a pattern set. Equal sets share a filter.
    pub(super) fn find_or_create(&self, patterns: &Names) -> Rc<ChannelFilter> {
        let mut state = self.0.borrow_mut();
        if let Some(filter) = state.by_patterns.get(patterns).and_then(Weak::upgrade) {
            return filter;
        }
        let number = state.next_number;
        state.next_number += 1;
        let filter =
            Rc::new(ChannelFilter { number, patterns: patterns.clone(), filters: self.clone() });
        state.by_number.insert(number, patterns.clone());
        state.by_patterns.insert(patterns.clone(), Rc::downgrade(&filter));
        for prefix in find_prefixes(patterns) {
            let numbers = state.by_prefix.entry(prefix.into()).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
        filter
    }

    /// Calls `handle` with the number of each filter that matches a channel, in ascending order.
    /// Some of the filters may have been removed.
    pub(crate) fn for_each_match(&self, channel: &str, handle: impl FnMut(u64)) {
        let mut state = self.0.borrow_mut();
        state.find_matches(channel).iter().copied().for_each(handle);
    }

    fn includes(&self, channel: &str, number: u64) -> bool {
        self.0.borrow_mut().find_matches(channel).binary_search(&number).is_ok()
    }
}

impl ChannelFilter {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether a channel matches one of the patterns.
    pub(super) fn includes(&self, channel: &str) -> bool {
        self.filters.includes(channel, self.number)
    }
}

impl Drop for ChannelFilter {
    fn drop(&mut self) {
        let mut state = self.filters.0.borrow_mut();
        state.by_patterns.remove(&self.patterns);
        state.by_number.remove(&self.number);
        for prefix in find_prefixes(&self.patterns) {
            let Some(numbers) = state.by_prefix.get_mut(prefix) else { continue };
            if let Ok(index) = numbers.binary_search(&self.number) {
                numbers.remove(index);
            }
            if numbers.is_empty() {
                state.by_prefix.remove(prefix);
            }
        }
    }
}

/// Returns the part of each pattern before its first `*`. The same part can occur several times.
fn find_prefixes(patterns: &Names) -> impl Iterator<Item = &str> {
    let patterns = patterns.patterns().unwrap_or_default();
    patterns.iter().map(|one| one.as_str().split('*').next().unwrap_or_default())
}

impl fmt::Debug for ChannelFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ChannelFilter").field(&self.patterns).finish()
    }
}

impl PartialEq for ChannelFilter {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for ChannelFilter {}

impl Hash for ChannelFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl State {
    /// Returns the filters that match a channel. Compares only the filters that have been created
    /// since the last call for the channel.
    fn find_matches(&mut self, channel: &str) -> &[u64] {
        self.make_room();
        if !self.channels.contains_key(channel) {
            let name: Rc<str> = channel.into();
            self.order.push_back(Rc::clone(&name));
            self.channels.insert(name, CachedMatches::default());
        }
        let cached =
            self.channels.get_mut(channel).expect("invariant: the channel has just been inserted");
        if cached.compared_below < self.next_number {
            let before = cached.numbers.len();
            if self.next_number - cached.compared_below <= SCANNED_MAX {
                let new = self.by_number.range(cached.compared_below..);
                let matching = new.filter(|(_, patterns)| patterns.matches(channel));
                cached.numbers.extend(matching.map(|(number, _)| *number));
            } else {
                let mut new = find_by_prefix(&self.by_prefix, channel, cached.compared_below);
                let is_match = |patterns: &Names| patterns.matches(channel);
                new.retain(|number| self.by_number.get(number).is_some_and(is_match));
                cached.numbers.append(&mut new);
            }
            cached.compared_below = self.next_number;
            if cached.numbers.len() > cached.prune_at.max(PRUNE_MIN) {
                cached.numbers.retain(|number| self.by_number.contains_key(number));
                cached.prune_at = cached.numbers.len() * 2;
            }
            self.matches = self.matches - before + cached.numbers.len();
        }
        &cached.numbers
    }

    /// Removes the results for the oldest channels while there are too many.
    fn make_room(&mut self) {
        while self.order.len() >= CHANNELS_MAX || self.matches > MATCHES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(removed) = self.channels.remove(&oldest) {
                self.matches -= removed.numbers.len();
            }
        }
    }
}

/// Returns the numbers, from `first` on, of the filters with a pattern that begins like `channel`,
/// in ascending order.
fn find_by_prefix(by_prefix: &HashMap<Box<str>, Vec<u64>>, channel: &str, first: u64) -> Vec<u64> {
    let prefixes = (0..=channel.len()).filter_map(|end| channel.get(..end));
    let lists = prefixes.filter_map(|prefix| by_prefix.get(prefix));
    let mut found: Vec<_> = lists
        .flat_map(|numbers| &numbers[numbers.partition_point(|number| *number < first)..])
        .copied()
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(filters: &ChannelFilters, patterns: &[&str]) -> Rc<ChannelFilter> {
        filters.find_or_create(&Names::parse(patterns.iter().copied()).expect("valid patterns"))
    }

    fn find_matches(filters: &ChannelFilters, channel: &str) -> Vec<u64> {
        let mut numbers = Vec::new();
        filters.for_each_match(channel, |number| numbers.push(number));
        numbers
    }

    #[test]
    fn equal_pattern_sets_share_a_filter() {
        let filters = ChannelFilters::default();
        let one = filter(&filters, &["a", "b.*"]);
        assert!(Rc::ptr_eq(&one, &filter(&filters, &["b.*", "a", "a"])));
        assert_ne!(one, filter(&filters, &["a"]));
        let number = one.number();
        drop(one);
        assert!(filter(&filters, &["a", "b.*"]).number() > number, "numbers are never reused");
        let state = filters.0.borrow();
        assert!(state.by_number.is_empty() && state.by_prefix.is_empty(), "all have been dropped");
        assert!(state.by_patterns.is_empty());
    }

    #[test]
    fn many_filters_are_found_by_the_beginnings_of_their_patterns() {
        const USERS: u64 = 10 * SCANNED_MAX;
        let filters = ChannelFilters::default();
        let users: Vec<_> = (0..USERS)
            .map(|user| filter(&filters, &["all", "a*z", "a*y", &format!("user.{user}.*")]))
            .collect();
        let own = |user: usize| [users[user].number()];
        assert_eq!(find_matches(&filters, "user.7.x"), own(7));
        assert_eq!(find_matches(&filters, "user.77.x"), own(77));
        let all: Vec<_> = users.iter().map(|user| user.number()).collect();
        for channel in ["all", "az", "a.y", "abcz"] {
            assert_eq!(find_matches(&filters, channel), all, "{channel}");
        }
        for channel in ["user.7", "user.", "al", "alls", "a", ""] {
            assert_eq!(find_matches(&filters, channel), [0; 0], "{channel}");
        }
        let any = filter(&filters, &["*.x"]);
        assert_eq!(find_matches(&filters, "user.7.x"), [own(7), [any.number()]].concat());
        assert_eq!(find_matches(&filters, "new.x"), [any.number()]);
        drop((users, any));
        assert!(filters.0.borrow().by_prefix.is_empty());
    }

    #[test]
    fn filters_that_are_created_later_match_cached_channels() {
        let filters = ChannelFilters::default();
        let first = filter(&filters, &["chat.*"]);
        assert_eq!(find_matches(&filters, "chat.a"), [first.number()]);
        assert_eq!(find_matches(&filters, "lobby"), [0; 0]);
        let second = filter(&filters, &["*"]);
        assert_eq!(find_matches(&filters, "chat.a"), [first.number(), second.number()]);
        assert_eq!(find_matches(&filters, "lobby"), [second.number()]);
        assert!(first.includes("chat.b") && !first.includes("lobby") && second.includes("lobby"));
    }

    #[test]
    fn removed_filters_do_not_accumulate() {
        let filters = ChannelFilters::default();
        let kept = filter(&filters, &["chat.*"]);
        for number in 0..1_000 {
            let removed = filter(&filters, &["chat.*", &number.to_string()]);
            assert!(find_matches(&filters, "chat.a").ends_with(&[removed.number()]));
        }
        let matches = find_matches(&filters, "chat.a");
        assert!(matches.len() <= PRUNE_MIN + 1, "{} matches", matches.len());
        assert!(matches.starts_with(&[kept.number()]));
        assert_eq!(filters.0.borrow().matches, matches.len());
    }

    #[test]
    fn results_for_the_oldest_channels_are_removed() {
        let filters = ChannelFilters::default();
        let all = filter(&filters, &["*", "x"]);
        for number in 0..2 * CHANNELS_MAX {
            assert_eq!(find_matches(&filters, &number.to_string()), [all.number()]);
        }
        let state = filters.0.borrow();
        assert!(state.channels.len() <= CHANNELS_MAX && state.order.len() <= CHANNELS_MAX);
        assert_eq!(state.matches, state.channels.len());
        assert!(!state.channels.contains_key("0"));
    }
}
