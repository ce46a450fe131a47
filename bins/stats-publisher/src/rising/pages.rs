//! The body of an answer, in either form of Chartbeat.

use std::collections::HashMap;

use mayfly_core::{PagePath, PageVisitors, Sample, limits::TITLE_CHARS_MAX};
use serde::Deserialize;

/// `[{"i":"Title","path":"/","visitors":1}]`, or `{"pages":[{"path":"/","title":"Title","stats":
/// {"people":1}}]}`, and more besides, which is left alone.
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

/// The visitors of the pages of a host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Of all pages of the answer.
    pub visitors: u64,
    /// Of each of the top pages, in the order of a sample.
    pub pages: Vec<PageVisitors>,
}

/// Reads an answer; none where it is no such list. Pages are told apart by their path: what is said of
/// one twice is added. One whose path is none here (longer, or with control characters) is counted, and
/// left out.
pub fn read_pages(body: &[u8]) -> Option<Pages> {
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

/// A title as our own may be: without control characters, and no longer.
fn clean_title(title: &str) -> Option<String> {
    let clean: String = title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path of a page, its title, its visitors.
    type Page = (String, Option<String>, u64);

    fn read(body: &str) -> Option<(u64, Vec<Page>)> {
        let Pages { visitors, pages } = read_pages(body.as_bytes())?;
        let pages = pages.into_iter().map(|page| (page.path, page.title, page.visitors));
        Some((visitors, pages.collect()))
    }

    #[test]
    fn both_forms_are_read_by_their_shape() {
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
    fn anything_else_is_garbage() {
        for garbage in [
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
            assert_eq!(read(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn a_page_stands_once_and_only_the_top_hundred_are_kept() {
        let twice = r#"[{"path":"/a","visitors":2},{"path":"/a","visitors":3}]"#;
        assert_eq!(read(twice), Some((5, vec![("/a".to_owned(), None, 5)])));
        let many: Vec<_> =
            (0..150).map(|n| format!(r#"{{"path":"/{n}","visitors":{n}}}"#)).collect();
        let (visitors, pages) = read(&format!("[{}]", many.join(","))).expect("a list");
        assert_eq!((visitors, pages.len(), pages[0].2, pages[99].2), (11_175, 100, 149, 50));
    }
}
