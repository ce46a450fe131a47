//! Patterns of channels, usernames and hosts.

use serde::{Deserialize, Serialize};

/// A pattern of names. `*` matches any run of characters, also an empty one. Every other character
/// matches itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Box<str>);

impl Pattern {
    /// The rule, worded to follow the field's name.
    pub const RULE: &str =
        "must be 1 to 253 characters without control characters, at most 8 of them `*`";

    /// Maximum length, in characters. The longest name is that of a host.
    const CHARS_MAX: usize = mayfly_core::limits::HOST_CHARS_MAX;
    const STARS_MAX: usize = 8;

    /// Validates a pattern. The error is the violated rule.
    pub fn parse(text: impl Into<String>) -> Result<Self, &'static str> {
        let text = text.into();
        let is_valid = (1..=Self::CHARS_MAX * 4).contains(&text.len())
            && text.chars().count() <= Self::CHARS_MAX
            && !text.chars().any(char::is_control)
            && text.matches('*').count() <= Self::STARS_MAX;
        if is_valid { Ok(Self(text.into())) } else { Err(Self::RULE) }
    }

    /// Returns whether the pattern matches a name. Case is significant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches_bytes(self.0.as_bytes(), name.as_bytes(), |one, other| one == other)
    }

    /// Returns whether the pattern matches the name of a host. The case of ASCII letters is not
    /// significant.
    #[must_use]
    pub fn matches_host(&self, host: &str) -> bool {
        matches_bytes(self.0.as_bytes(), host.as_bytes(), |one, other| {
            one.eq_ignore_ascii_case(&other)
        })
    }

    /// Returns whether the pattern matches every name.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Returns the text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Pattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(text)
    }
}

/// Matches a name without recursion, in at most `pattern.len()` × `name.len()` steps: a mismatch
/// only ever extends the run of the last `*`, because an earlier `*` cannot match better. Comparing
/// bytes gives the same result as comparing characters, because both texts are UTF-8.
fn matches_bytes(pattern: &[u8], name: &[u8], is_equal: impl Fn(u8, u8) -> bool) -> bool {
    let (mut at, mut position) = (0, 0);
    // The position after the last `*` in the pattern, and the end of its run in the name.
    let mut last_star = None;
    while let Some(&byte) = name.get(position) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                last_star = Some((at, position));
            }
            Some(&own) if is_equal(own, byte) => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((after_star, end)) = last_star else { return false };
                at = after_star;
                position = end + 1;
                last_star = Some((after_star, position));
            }
        }
    }
    pattern.iter().skip(at).all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    /// Matches by trying every run for every `*`.
    fn matches_naively(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => {
                (0..=name.len()).any(|length| matches_naively(rest, &name[length..]))
            }
            Some((own, rest)) => name
                .split_first()
                .is_some_and(|(first, name)| own == first && matches_naively(rest, name)),
        }
    }

    #[test]
    fn star_matches_any_run_and_other_characters_match_themselves() {
        for (text, name, expected) in [
            ("chat", "chat", true),
            ("chat", "chats", false),
            ("chat", "Chat", false),
            ("chat", "", false),
            ("*", "", true),
            ("*", "chat", true),
            ("chat.*", "chat.", true),
            ("chat.*", "chat.a.b", true),
            ("chat.*", "chat", false),
            ("*.a", "b.a", true),
            ("*.a", "b.a.c", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
            ("a.c", "abc", false),
            ("?", "a", false),
            ("[a]", "a", false),
            ("ü*", "üb", true),
            ("*ü", "aü", true),
            ("*", "🦋", true),
        ] {
            assert_eq!(pattern(text).matches(name), expected, "{text} {name}");
        }
    }

    #[test]
    fn case_is_not_significant_in_hosts() {
        assert!(pattern("*.Example.org").matches_host("www.example.ORG"));
        assert!(!pattern("*.example.org").matches_host("example.org"));
    }

    #[test]
    fn pattern_has_1_to_253_characters_and_at_most_8_stars() {
        for right in ["a", "*", "a b", &"ü".repeat(253), &"*a".repeat(8)] {
            assert!(Pattern::parse(right).is_ok(), "{right:?}");
        }
        for wrong in ["", &"ü".repeat(254), "a\nb", "a\u{7f}", "\0", &"*".repeat(9)] {
            assert_eq!(Pattern::parse(wrong), Err(Pattern::RULE), "{wrong:?}");
        }
    }

    #[test]
    fn only_stars_match_all() {
        assert!(pattern("*").matches_all() && pattern("**").matches_all());
        assert!(!pattern("a*").matches_all() && !pattern("*a").matches_all());
    }

    /// A pattern that takes exponential time in a recursive matcher.
    #[test]
    fn cost_is_bounded_by_the_product_of_the_lengths() {
        let hostile = pattern(&("a*".repeat(8) + "b"));
        let name = "a".repeat(100_000);
        let started = std::time::Instant::now();
        assert!(!hostile.matches(&name));
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_matcher(text in "[ab*ü]{1,8}", name in "[abü]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = matches_naively(&chars(&text), &chars(&name));
            prop_assert_eq!(pattern(&text).matches(&name), expected);
            prop_assert_eq!(pattern(&text).matches_host(&name), expected);
        }
    }
}
