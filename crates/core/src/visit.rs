//! A visit: the heartbeat of one visitor on one page of one host.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    batch::parse_items,
    field::{FieldErrors, checked_text, has_chars},
    host::{Host, PagePath, PageTitle},
    limits,
    new_message::{Refusal, optional, parse_as, required},
};

checked_text!(
    /// Who visits, by whatever its site tells visitors apart with.
    Visitor,
    "must be 1 to 128 characters without U+0000",
    |text| has_chars(text, limits::VISITOR_CHARS_MAX) && !text.contains('\0')
);

/// A visit, as it may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Where the page is.
    pub host: Host,
    /// Which page.
    pub path: PagePath,
    /// What it is called.
    pub title: Option<PageTitle>,
    /// Who is there.
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

impl Visit {
    fn from_json(json: &str) -> Result<Self, Refusal> {
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
            _ => Err(Refusal::InvalidFields(errors)),
        }
    }
}

/// Reads the body of `POST /v1/visits`: a visit, or an array of them.
pub fn parse_visits(json: &str) -> Result<Vec<Visit>, Refusal> {
    if json.trim_ascii_start().starts_with('{') {
        return Ok(vec![Visit::from_json(json)?]);
    }
    let items: Vec<&RawValue> = parse_as(json, '[', "must be an object or an array")?;
    let items = items.into_iter().map(RawValue::get);
    parse_items(items, limits::VISITS_MAX, "must be 1 to 1000 visits", Visit::from_json)
}

/// What a page or a visitor is known by where they are counted: 8 bytes, however long its name is.
/// Two of a million meet by chance once in 40 million times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(u64);

impl Mark {
    /// The first 8 bytes of SHA-256 of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(name).into();
        Self(u64::from_be_bytes(std::array::from_fn(|place| hash[place])))
    }

    /// How it is written down: 16 digits of base 16.
    #[must_use]
    pub fn to_hex(self) -> String {
        format!("{:016x}", self.0)
    }

    /// Its class: half of all visitors are in class 0, half of the others in class 1, and so on; the
    /// last class has all that are left. Counting the classes from some level on counts one visitor
    /// in 2^level, always the same ones: adaptive sampling (P. Flajolet, "On adaptive sampling",
    /// Computing 43, 1990).
    #[must_use]
    pub fn class(self) -> u32 {
        self.0.trailing_zeros().min(CLASSES - 1)
    }
}

/// Classes of visitors.
pub const CLASSES: u32 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_or_an_array_of_them_is_taken() {
        let one = parse_visits(r#"{"host":"A.org","path":"/x","visitor":"v"}"#).expect("a visit");
        assert_eq!((one[0].host.as_str(), one[0].path.as_str()), ("a.org", "/x"));
        let json = r#"[{"host":"a","path":"/","title":"Home","visitor":"v"}]"#;
        let many = parse_visits(json).expect("a list of one");
        assert_eq!(many[0].title.as_ref().map(PageTitle::as_str), Some("Home"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fields = |json| {
            let refusal = parse_visits(json).expect_err("it is wrong");
            refusal.into_fields().into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(fields("{}"), ["host", "path", "visitor"]);
        let second =
            r#"[{"host":"a","path":"/","visitor":"v"},{"host":"","path":"","visitor":""}]"#;
        assert_eq!(fields(second), ["[1].host", "[1].path", "[1].visitor"]);
        assert_eq!(fields(r#"{"host":"a","path":"/","visitor":"v","x":1}"#), ["x"]);
    }

    #[test]
    fn each_class_has_half_of_what_the_one_before_has() {
        let mut counts = [0_u32; CLASSES as usize];
        for number in 0..40_000 {
            counts[Mark::of(&number.to_string()).class() as usize] += 1;
        }
        for (class, count) in counts.iter().enumerate().take(6) {
            let expected = 20_000 >> class;
            assert!(count.abs_diff(expected) < expected / 5 + 40, "{class}: {count}");
        }
    }
}
