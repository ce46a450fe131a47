//! Names in the documentation exist in the code.

use std::{collections::BTreeSet, fs};

use super::{configuration_keys, find_key_names, root, rust_files};

#[test]
fn configuration_keys_in_the_documentation_exist() {
    let keys = configuration_keys();
    let documents = ["API", "ARCHITECTURE", "OPERATIONS", "RECIPES", "SECURITY"];
    let documents = documents.map(|name| format!("docs/{name}.md"));
    for document in documents.iter().map(String::as_str).chain(["README.md"]) {
        let text = fs::read_to_string(root().join(document)).expect("the document exists");
        for name in find_key_names(&text) {
            let is_placeholder = name == "MAYFLY_SECTION__KEY";
            assert!(is_placeholder || keys.contains(name), "{document} names {name}");
        }
    }
}

#[test]
fn files_in_the_recipes_exist() {
    const ROOTS: [&str; 8] =
        ["bins/", "crates/", "deploy/", "docs/", "k8s/", "migrations/", "tests/", "web/"];
    let recipes = fs::read_to_string(root().join("docs/RECIPES.md")).expect("the document exists");
    let mut found = 0;
    for code in recipes.split('`') {
        let is_path = ROOTS.iter().any(|root| code.starts_with(root));
        // The name of a file that the reader creates contains a placeholder.
        if is_path && !code.contains(['<', ' ', '\n']) {
            assert!(root().join(code).exists(), "docs/RECIPES.md names {code}");
            found += 1;
        }
    }
    assert!(found > 20, "only {found} paths found");
}

#[test]
fn tests_in_the_security_document_exist() {
    let document = root().join("docs/SECURITY.md");
    let document = fs::read_to_string(document).expect("the document exists");
    let (_, section) = document.split_once("\n## Threats and tests\n").expect("the section exists");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let sources = ["bins", "crates", "tests"].map(|group| rust_files(&root().join(group)));
    let read = |file| fs::read_to_string(file).expect("valid UTF-8");
    let code: String = sources.into_iter().flatten().map(read).collect();
    let names = section.split('`').skip(1).step_by(2).filter(|name| is_test_name(name));
    let mut found = 0;
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "docs/SECURITY.md names the test {name}");
        found += 1;
    }
    assert!(found > 50, "only {found} tests found");
}

fn is_test_name(text: &str) -> bool {
    let is_name_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.matches('_').count() > 1 && text.chars().all(is_name_char)
}

#[test]
fn problem_codes_are_documented() {
    let api = fs::read_to_string(root().join("docs/API.md")).expect("the document exists");
    let source = root().join("crates/http/src/response/problem/code.rs");
    let source = fs::read_to_string(source).expect("the file exists");
    let codes: BTreeSet<&str> = source.split('"').filter(|text| is_code(text)).collect();
    assert!(codes.len() >= 19, "{codes:?}");
    for code in codes {
        assert!(api.contains(&format!("`{code}`")), "docs/API.md does not name {code}");
    }
}

fn is_code(text: &str) -> bool {
    let is_code_char = |c: char| c.is_ascii_lowercase() || c == '_';
    text.len() > 3 && text.chars().all(is_code_char)
}
