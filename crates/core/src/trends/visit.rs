//! Visits: heartbeats that report a visitor on a page of a host.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Host, PagePath, PageTitle};
use crate::{
    input::{
        FieldErrors, InputError, ItemRules, Items, RequestBody, checked_text, has_chars, optional,
        parse_as, required,
    },
    limits,
};

checked_text!(
    /// The ID of a visitor, chosen by the site.
    Visitor,
    "must be 1 to 128 characters without U+0000",
    |text| has_chars(text, limits::VISITOR_CHARS_MAX) && !text.contains('\0')
);

/// A validated visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The host.
    pub host: Host,
    /// The path of the page.
    pub path: PagePath,
    /// The title of the page.
    pub title: Option<PageTitle>,
    /// The visitor.
    pub visitor: Visitor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VisitBody {
    host: Option<String>,
    path: Option<String>,
    title: Option<String>,
    visitor: Option<String>,
}

impl RequestBody<'_> for VisitBody {}

impl Visit {
    fn from_json(json: &str) -> Result<Self, InputError> {
        let body: VisitBody = parse_as(json, '{', "must be an object")?;
        let mut errors = FieldErrors::default();
        let host = required(&mut errors, "host", body.host, Host::parse);
        let path = required(&mut errors, "path", body.path, PagePath::parse);
        let title = optional(&mut errors, "title", body.title, PageTitle::parse);
        let visitor = required(&mut errors, "visitor", body.visitor, Visitor::parse);
        match (host, path, visitor, errors.is_empty()) {
            (Some(host), Some(path), Some(visitor), true) => {
                Ok(Self { host, path, title, visitor })
            }
            _ => Err(InputError::InvalidFields(errors)),
        }
    }
}

const RULES: ItemRules<Visit> = ItemRules {
    items_max: limits::VISITS_MAX,
    rule: "must contain 1 to 1000 visits",
    parse_item: Visit::from_json,
};

/// Splits the body of `POST /v1/visits`: a visit or an array of visits.
pub fn split_visits(json: &str) -> Result<Items<'_, Visit>, InputError> {
    Items::split_object_or_array(json, &RULES)
}

/// An 8-byte hash of a page path or a visitor ID, used for counting. The probability of any
/// collision among a million hashes is about 1 in 40 million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortHash(u64);

impl ShortHash {
    /// Returns the first 8 bytes of the SHA-256 digest of a path or an ID.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(name).into();
        Self(u64::from_be_bytes(std::array::from_fn(|index| hash[index])))
    }

    /// Formats the hash as 16 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        format!("{:016x}", self.0)
    }

    /// Returns the sampling class. On average, class 0 contains half of all visitors, class 1 half
    /// of the remaining visitors, and so on; the last class contains the rest. Counting only class
    /// `n` and higher classes counts about one visitor in 2^`n`, and always the same visitors. This
    /// is adaptive sampling (P. Flajolet, "On adaptive sampling", Computing 43, 1990).
    #[must_use]
    pub fn class(self) -> u32 {
        self.0.trailing_zeros().min(CLASSES - 1)
    }
}

/// The number of sampling classes.
pub const CLASSES: u32 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_visits(json: &str) -> Result<Vec<Visit>, InputError> {
        split_visits(json)?.parse()
    }

    #[test]
    fn body_is_a_visit_or_an_array_of_visits() {
        let one = parse_visits(r#"{"host":"A.org","path":"/x","visitor":"v"}"#).expect("a visit");
        assert_eq!((one[0].host.as_str(), one[0].path.as_str()), ("a.org", "/x"));
        let json = r#"[{"host":"a","path":"/","title":"Home","visitor":"v"}]"#;
        let many = parse_visits(json).expect("a list of one");
        assert_eq!(many[0].title.as_ref().map(PageTitle::as_str), Some("Home"));
    }

    #[test]
    fn invalid_fields_are_reported() {
        let fields = |json| {
            let error = parse_visits(json).expect_err("it is invalid");
            error.into_fields().into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(fields("{}"), ["host", "path", "visitor"]);
        let second =
            r#"[{"host":"a","path":"/","visitor":"v"},{"host":"","path":"","visitor":""}]"#;
        assert_eq!(fields(second), ["[1].host", "[1].path", "[1].visitor"]);
        assert_eq!(fields(r#"{"host":"a","path":"/","visitor":"v","x":1}"#), ["x"]);
    }

    #[test]
    fn each_class_has_half_the_visitors_of_the_previous_one() {
        let mut counts = [0_u32; CLASSES as usize];
        for number in 0..40_000 {
            counts[ShortHash::new(&number.to_string()).class() as usize] += 1;
        }
        for (class, count) in counts.iter().enumerate().take(6) {
            let expected = 20_000 >> class;
            assert!(count.abs_diff(expected) < expected / 5 + 40, "{class}: {count}");
        }
    }
}
