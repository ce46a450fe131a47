//! Content negotiation: headers that list alternatives with weights (RFC 9110, section 12).

use actix_web::http::header::{ACCEPT, AsHeaderName, HeaderMap};

/// The weight of an alternative in thousandths, from 0 (not acceptable) to 1000.
pub(crate) type Weight = u16;

const WEIGHT_MAX: Weight = 1000;

/// An alternative in a header such as `Accept` or `Accept-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alternative<'a> {
    /// The media range or the coding, such as `text/html` or `gzip`.
    pub(crate) name: &'a str,
    parameters: &'a str,
    pub(crate) weight: Weight,
}

/// Iterates over the alternatives of a header. Values that are not ASCII are ignored.
pub(crate) fn alternatives(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> impl Iterator<Item = Alternative<'_>> {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| split_unquoted(value, b',')).map(Alternative::parse)
}

impl<'a> Alternative<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = split_unquoted(text, b';');
        let name = parts.next().unwrap_or_default().trim();
        let parameters = text.split_once(';').map_or("", |(_, parameters)| parameters);
        let mut alternative = Self { name, parameters, weight: WEIGHT_MAX };
        if let Some(weight) = alternative.parameter("q").and_then(parse_weight) {
            alternative.weight = weight;
        }
        alternative
    }

    /// Returns the value of a parameter, without quotes.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        split_unquoted(self.parameters, b';')
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(one, _)| one.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// Returns the specificity of a media range that includes a media type: 3 for its full name, 2
    /// for its type with any subtype, and 1 for `*/*`. Returns `None` if the range does not include
    /// the media type.
    fn specificity(&self, kind: &str, subtype: &str) -> Option<u8> {
        let (own_kind, own_subtype) = self.name.split_once('/')?;
        if self.name == "*/*" {
            return Some(1);
        }
        if !own_kind.eq_ignore_ascii_case(kind) {
            return None;
        }
        match own_subtype {
            "*" => Some(2),
            own_subtype => own_subtype.eq_ignore_ascii_case(subtype).then_some(3),
        }
    }
}

/// Returns the weight of a media type in `Accept`: the weight of the most specific range that
/// includes the media type, or 0 if no range includes it. Without `Accept`, all media types have
/// the maximum weight.
pub(crate) fn media_type_weight(headers: &HeaderMap, kind: &str, subtype: &str) -> Weight {
    if !headers.contains_key(ACCEPT) {
        return WEIGHT_MAX;
    }
    alternatives(headers, ACCEPT)
        .filter_map(|range| Some((range.specificity(kind, subtype)?, range.weight)))
        .max()
        .map_or(0, |(_, weight)| weight)
}

/// Returns whether the client explicitly accepts HTML and prefers it to JSON, as browsers do when
/// they open a page.
pub(crate) fn prefers_html(headers: &HeaderMap) -> bool {
    let html = alternatives(headers, ACCEPT)
        .filter(|range| range.specificity("text", "html") == Some(3))
        .map(|range| range.weight)
        .max();
    html.is_some_and(|html| html > media_type_weight(headers, "application", "json"))
}

/// Parses a weight with up to three decimals. Returns `None` if the weight is malformed.
fn parse_weight(text: &str) -> Option<Weight> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_valid = matches!(whole, "0" | "1")
        && decimals.len() <= 3
        && decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !is_valid {
        return None;
    }
    let thousandths: Weight = format!("{decimals:0<3}").parse().ok()?;
    Some(if whole == "1" { WEIGHT_MAX } else { thousandths })
}

/// Splits a text at each separator outside quoted strings, in linear time.
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            if is_escaped {
                is_escaped = false;
            } else if byte == b'\\' && is_quoted {
                is_escaped = true;
            } else if byte == b'"' {
                is_quoted = !is_quoted;
            } else {
                return byte == separator && !is_quoted;
            }
            false
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(end.map_or(text, |end| &text[..end]))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn accept(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(text).expect("a header"));
        headers
    }

    #[test]
    fn most_specific_range_counts() {
        let weight = |text: &str| media_type_weight(&accept(text), "text", "html");
        assert_eq!(media_type_weight(&HeaderMap::new(), "text", "html"), 1000);
        for (text, expected) in [
            ("text/html", 1000),
            ("TEXT/HTML;level=1;q=0.25", 250),
            ("*/*;q=0.5, text/*;q=0.3, text/html;q=0.1", 100),
            ("*/*;q=0.5, text/*;Q=0.3", 300),
            ("*/*", 1000),
            ("application/json", 0),
            ("text/html;q=0, */*", 0),
            ("a/b;title=\"x, text/html;q=1\", text/html;q=0.9", 900),
            ("text/html;q=nonsense", 1000),
            ("text/html;q=1.0", 1000),
            ("text/html;q=0.0005", 1000),
            ("", 0),
            ("text", 0),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
    }

    #[test]
    fn parameters_are_found_by_name() {
        let headers = accept("application/json; Version=\"1.0\" ;q=0.5");
        let range = alternatives(&headers, ACCEPT).next().expect("a range");
        assert_eq!((range.name, range.weight), ("application/json", 500));
        assert_eq!(range.parameter("version"), Some("1.0"));
        assert_eq!(range.parameter("level"), None);
    }

    #[test]
    fn browsers_prefer_html_and_other_clients_do_not() {
        assert!(!prefers_html(&HeaderMap::new()));
        for browser in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html",
            "application/json;q=0.9, text/html",
        ] {
            assert!(prefers_html(&accept(browser)), "{browser}");
        }
        for other in [
            "*/*",
            "text/*",
            "application/json",
            "application/json, text/html",
            "text/html, */*",
            "text/html;q=0",
            "text/html;q=0.8, application/json;q=0.9",
        ] {
            assert!(!prefers_html(&accept(other)), "{other}");
        }
    }
}
