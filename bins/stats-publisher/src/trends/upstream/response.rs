//! The response body from Chartbeat, in version 1 or version 3 of its API.

use std::collections::HashMap;

use mayfly_core::{PagePath, PageVisitors, Sample, limits::TITLE_CHARS_MAX};
use serde::Deserialize;

/// A response body: `[{"i":"Title","path":"/","visitors":1}]` in version 1, or
/// `{"pages":[{"path":"/","title":"Title","stats":{"people":1}}]}` in version 3. Other fields are
/// ignored.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    First(Vec<FirstPage>),
    Third { pages: Vec<ThirdPage> },
}

#[derive(Deserialize)]
struct FirstPage {
    i: Option<String>,
    path: String,
    visitors: u32,
}

#[derive(Deserialize)]
struct ThirdPage {
    title: Option<String>,
    path: String,
    stats: Stats,
}

#[derive(Deserialize)]
struct Stats {
    people: u32,
}

/// The visitors to the pages of a host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The total number of visitors to the pages in the response, including omitted pages.
    pub visitors: u64,
    /// The top pages with their visitors, in the order of [`Sample::rank`].
    pub pages: Vec<PageVisitors>,
}

/// Parses a response body. Returns `None` if the body is invalid or a path is empty.
///
/// The visitor counts of pages with the same path are added up. A page with an otherwise invalid
/// path (too long, or with control characters) is omitted, but its visitors count toward the total.
pub fn parse_pages(body: &[u8]) -> Option<Pages> {
    let all: Vec<_> = match serde_json::from_slice(body).ok()? {
        Body::First(pages) => {
            pages.into_iter().map(|page| (page.path, page.i, page.visitors)).collect()
        }
        Body::Third { pages } => {
            pages.into_iter().map(|page| (page.path, page.title, page.stats.people)).collect()
        }
    };
    let visitors = all.iter().map(|(_, _, visitors)| u64::from(*visitors)).sum();
    let mut by_path: HashMap<String, PageVisitors> = HashMap::new();
    for (path, title, visitors) in all {
        if path.is_empty() {
            return None;
        }
        let Ok(path) = PagePath::parse(path) else { continue };
        let path = path.as_str().to_owned();
        let page = by_path.entry(path.clone()).or_insert(PageVisitors {
            path,
            title: title.as_deref().and_then(clean_title),
            visitors: 0,
        });
        page.visitors += u64::from(visitors);
    }
    let mut pages = by_path.into_values().collect();
    Sample::rank(&mut pages);
    Some(Pages { visitors, pages })
}

/// Makes a title valid: removes its control characters and truncates it. Returns `None` if nothing
/// remains.
fn clean_title(title: &str) -> Option<String> {
    let clean: String = title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path, title and visitors of a page.
    type Page = (String, Option<String>, u64);

    fn read(body: &str) -> Option<(u64, Vec<Page>)> {
        let Pages { visitors, pages } = parse_pages(body.as_bytes())?;
        let pages = pages.into_iter().map(|page| (page.path, page.title, page.visitors));
        Some((visitors, pages.collect()))
    }

    #[test]
    fn both_versions_are_parsed() {
        let first =
            read(r#"[{"i":"A","path":"/a","visitors":2,"x":1},{"path":"/b","visitors":5}]"#);
        let third = read(
            r#"{"pages":[{"path":"/a","title":"A","stats":{"people":2}},
               {"path":"/b","title":null,"stats":{"people":5,"loyal":1}}]}"#,
        );
        let pages = vec![("/b".to_owned(), None, 5), ("/a".to_owned(), Some("A".to_owned()), 2)];
        assert_eq!(first, Some((7, pages)));
        assert_eq!(third, first);
        assert_eq!(read("[]"), Some((0, Vec::new())));
    }

    #[test]
    fn other_bodies_are_invalid() {
        for invalid in [
            "",
            "no",
            "{}",
            "null",
            "[1]",
            r#"[{"i":"A","visitors":2}]"#,
            r#"[{"path":"/a"}]"#,
            r#"[{"path":"","visitors":1}]"#,
            r#"[{"path":"/a","visitors":-1}]"#,
            r#"[{"path":"/a","visitors":1.5}]"#,
            r#"{"pages":[{"path":"/a"}]}"#,
            r#"[{"path":"/a","visitors":1}"#,
        ] {
            assert_eq!(read(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn duplicate_pages_are_merged_and_the_top_hundred_are_kept() {
        let twice = r#"[{"path":"/a","visitors":2},{"path":"/a","visitors":3}]"#;
        assert_eq!(read(twice), Some((5, vec![("/a".to_owned(), None, 5)])));
        let many: Vec<_> =
            (0..150).map(|n| format!(r#"{{"path":"/{n}","visitors":{n}}}"#)).collect();
        let (visitors, pages) = read(&format!("[{}]", many.join(","))).expect("a list");
        assert_eq!((visitors, pages.len(), pages[0].2, pages[99].2), (11_175, 100, 149, 50));
    }
}
