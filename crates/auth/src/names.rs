//! Sets of names that are given by patterns.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::pattern::Pattern;

/// Maximum number of patterns in a list, except in the list of a key's hosts.
pub const PATTERNS_MAX: usize = 64;
/// Maximum number of patterns in the list of a key's hosts.
pub const KEY_HOSTS_MAX: usize = mayfly_core::limits::API_KEY_HOSTS_MAX;

/// The names that a caller has a right to. Equal sets of patterns are equal values, in whatever
/// order they were given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Names {
    /// Every name.
    All,
    /// The names that match one of these patterns, which are sorted and distinct.
    Some(Arc<[Pattern]>),
}

impl Names {
    /// The rule for the number of patterns, worded to follow the field's name.
    pub const RULE: &str = "must have at most 64 patterns";
    /// The rule for the number of patterns of a key's hosts, worded to follow the field's name.
    pub const KEY_HOSTS_RULE: &str = "must have at most 1000 patterns";

    /// Returns the set of no names.
    #[must_use]
    pub fn none() -> Self {
        Self::Some(Arc::default())
    }

    /// Returns the set of all names, as the default for a missing list.
    pub(crate) const fn all() -> Self {
        Self::All
    }

    /// Parses a list of patterns. The error is the violated rule.
    pub fn parse<T: Into<String>>(
        patterns: impl IntoIterator<Item = T>,
    ) -> Result<Self, &'static str> {
        Self::parse_up_to(PATTERNS_MAX, patterns)?.ok_or(Self::RULE)
    }

    /// Parses the list of patterns of a key's hosts. The error is the violated rule.
    pub fn parse_key_hosts<T: Into<String>>(
        patterns: impl IntoIterator<Item = T>,
    ) -> Result<Self, &'static str> {
        Self::parse_up_to(KEY_HOSTS_MAX, patterns)?.ok_or(Self::KEY_HOSTS_RULE)
    }

    /// Parses a list of patterns. Returns `None` if there are too many.
    fn parse_up_to<T: Into<String>>(
        count_max: usize,
        patterns: impl IntoIterator<Item = T>,
    ) -> Result<Option<Self>, &'static str> {
        let patterns = patterns.into_iter().take(count_max + 1).map(Pattern::parse);
        let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
        Ok((patterns.len() <= count_max).then(|| Self::from(patterns)))
    }

    /// Returns whether the set contains a channel or a username.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.matches_by(|pattern| pattern.matches(name))
    }

    /// Returns whether the set contains a host. The case of ASCII letters is not significant.
    #[must_use]
    pub fn matches_host(&self, host: &str) -> bool {
        self.matches_by(|pattern| pattern.matches_host(host))
    }

    /// Returns whether the set contains every name.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.matches_by(Pattern::matches_all)
    }

    /// Returns whether the set contains no name.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.patterns().is_some_and(<[_]>::is_empty)
    }

    /// Returns the patterns; `None` if the set contains every name because no list was given.
    #[must_use]
    pub fn patterns(&self) -> Option<&[Pattern]> {
        match self {
            Self::All => None,
            Self::Some(patterns) => Some(patterns),
        }
    }

    fn matches_by(&self, is_match: impl Fn(&Pattern) -> bool) -> bool {
        self.patterns().is_none_or(|patterns| patterns.iter().any(is_match))
    }

    /// Deserializes the list of patterns of a key's hosts.
    pub(crate) fn deserialize_key_hosts<'de, D>(deserializer: D) -> Result<Self, D::Error>
    where
        D: Deserializer<'de>,
    {
        let patterns = Vec::<String>::deserialize(deserializer)?;
        Self::parse_key_hosts(patterns).map_err(de::Error::custom)
    }
}

impl From<Vec<Pattern>> for Names {
    fn from(mut patterns: Vec<Pattern>) -> Self {
        patterns.sort_unstable();
        patterns.dedup();
        Self::Some(patterns.into())
    }
}

/// Serialized as a list. [`Names::All`] becomes `["*"]`, which has the same meaning.
impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => ["*"].serialize(serializer),
            Self::Some(patterns) => patterns[..].serialize(serializer),
        }
    }
}

/// Only a list is accepted, so that `null` cannot mean every name.
impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Vec::<String>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[&str]) -> Names {
        Names::parse(patterns.iter().copied()).expect("patterns")
    }

    #[test]
    fn set_contains_what_one_of_its_patterns_matches() {
        let set = names(&["chat.*", "lobby"]);
        assert!(set.matches("chat.a") && set.matches("lobby"));
        assert!(!set.matches("lobby2") && !set.matches("LOBBY") && !set.is_all());
        assert!(set.matches_host("LOBBY"));
        assert!(Names::All.matches("") && Names::All.is_all() && !Names::All.is_none());
        assert!(names(&["a", "*"]).is_all());
        assert!(!Names::none().matches("") && Names::none().is_none() && !Names::none().is_all());
    }

    #[test]
    fn order_and_duplicates_do_not_matter() {
        assert_eq!(names(&["b", "a", "b"]), names(&["a", "b"]));
        assert_ne!(names(&["a"]), names(&["a", "b"]));
        assert_eq!(Names::All.patterns(), None);
        assert_eq!(names(&["b", "a"]).patterns().map(<[_]>::len), Some(2));
    }

    #[test]
    fn number_of_patterns_is_limited() {
        let many = |count: usize| (0..count).map(|index| index.to_string());
        assert!(Names::parse(many(PATTERNS_MAX)).is_ok());
        assert_eq!(Names::parse(many(PATTERNS_MAX + 1)), Err(Names::RULE));
        assert!(Names::parse_key_hosts(many(KEY_HOSTS_MAX)).is_ok());
        assert_eq!(Names::parse_key_hosts(many(KEY_HOSTS_MAX + 1)), Err(Names::KEY_HOSTS_RULE));
        assert!(Names::RULE.contains(&PATTERNS_MAX.to_string()));
        assert!(Names::KEY_HOSTS_RULE.contains(&KEY_HOSTS_MAX.to_string()));
        assert_eq!(Names::parse(["a", ""]), Err(Pattern::RULE));
    }

    #[test]
    fn json_is_a_list_and_null_is_rejected() {
        for (json, expected) in [("[]", Names::none()), (r#"["b","a"]"#, names(&["a", "b"]))] {
            assert_eq!(serde_json::from_str::<Names>(json).expect("a list"), expected);
        }
        for wrong in ["null", r#""*""#, "{}", r#"[""]"#, "[1]", "true"] {
            assert!(serde_json::from_str::<Names>(wrong).is_err(), "{wrong}");
        }
        let to_json = |names: &Names| serde_json::to_string(names).expect("it serializes");
        assert_eq!(to_json(&names(&["b", "a"])), r#"["a","b"]"#);
        assert_eq!(to_json(&Names::All), r#"["*"]"#);
    }
}
