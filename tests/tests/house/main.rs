//! The rules of the house that no compiler checks.

mod deployment;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).expect("tests lie in it").to_path_buf()
}

/// The packages of the workspace with what each depends on outside its tests.
fn packages() -> Vec<(String, BTreeSet<String>)> {
    let mut packages = Vec::new();
    for group in ["crates", "bins"] {
        for entry in fs::read_dir(root().join(group)).expect("the group is there") {
            let manifest = entry.expect("it can be read").path().join("Cargo.toml");
            let text = fs::read_to_string(&manifest).expect("a package has a manifest");
            let manifest: toml::Table = text.parse().expect("a manifest is TOML");
            let name = manifest["package"]["name"].as_str().expect("it has a name").to_owned();
            let needs = manifest.get("dependencies").and_then(toml::Value::as_table);
            let needs = needs.map(|needs| needs.keys().cloned().collect()).unwrap_or_default();
            packages.push((name, needs));
        }
    }
    assert!(packages.len() >= 12, "all packages are looked at");
    packages
}

#[test]
fn each_technology_has_one_owner() {
    let services = ["ingest-api", "list-api", "ws-fanout"];
    for (package, needs) in packages() {
        for need in &needs {
            let allowed = match need.as_str() {
                "redis" | "deadpool-redis" => package == "mayfly-hot",
                "diesel" | "diesel-async" | "diesel_migrations" => package == "mayfly-cold",
                "actix-codec" | "actix-cors" | "actix-http" | "actix-server" | "actix-service" => {
                    package == "mayfly-http"
                }
                "actix-web" => package == "mayfly-http" || services.contains(&package.as_str()),
                "s3s" | "s3s-fs" => package == "mayfly-stack",
                aws if aws.starts_with("aws-") => package == "mayfly-s3",
                "utoipa" | "utoipa-swagger-ui" => package == "mayfly-openapi",
                "reqwest" => false,
                _ => true,
            };
            assert!(allowed, "{package} depends on {need}, which has another owner");
        }
    }
}

#[test]
fn dependencies_run_one_way() {
    let rank = |package: &str| match package {
        "mayfly-core" | "mayfly-runtime" => 0,
        "mayfly-hot" | "mayfly-cold" | "mayfly-http" | "mayfly-s3" | "mayfly-stack" => 1,
        "mayfly-openapi" => 2,
        _ => 3,
    };
    let packages = packages();
    for (package, needs) in &packages {
        for need in needs.iter().filter(|need| packages.iter().any(|(name, _)| name == *need)) {
            assert!(rank(need) < rank(package), "{package} depends on {need}");
        }
    }
}

#[test]
fn ingest_api_and_ws_fanout_cannot_reach_postgres() {
    for (package, needs) in packages() {
        if package == "ingest-api" || package == "ws-fanout" {
            assert!(!needs.contains("mayfly-cold"), "{package}");
        }
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let mut directories = vec![root().join("crates"), root().join("bins"), root().join("tests")];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = fs::read_to_string(&path).expect("it is text").lines().count();
                assert!(lines <= 500, "{} has {lines} lines", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "the files are looked at");
}

/// Every key of the configuration, as the environment names it.
fn all_keys() -> BTreeSet<String> {
    let example = mayfly_runtime::env_example();
    let keys = example.lines().filter_map(|line| line.split_once('='));
    keys.map(|(key, _)| key.to_owned()).collect()
}

/// What in a text is written like a key in the environment.
fn names_of_keys(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    names.filter(|name| name.starts_with("MAYFLY_") && name.contains("__"))
}

#[test]
fn every_key_of_the_configuration_that_the_documents_name_exists() {
    let keys = all_keys();
    for document in ["README.md", "docs/API.md", "docs/OPERATIONS.md", "docs/ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(document)).expect("the document is there");
        for name in names_of_keys(&text) {
            let general = name == "MAYFLY_SECTION__KEY";
            assert!(general || keys.contains(name), "{document} names {name}");
        }
    }
}

#[test]
fn every_code_of_a_problem_stands_in_the_table_of_the_api() {
    let api = fs::read_to_string(root().join("docs/API.md")).expect("the document is there");
    let code = fs::read_to_string(root().join("crates/http/src/problem/code.rs")).expect("there");
    let codes: BTreeSet<&str> = code.split('"').filter(|text| is_code(text)).collect();
    assert!(codes.len() >= 19, "{codes:?}");
    for code in codes {
        assert!(api.contains(&format!("`{code}`")), "docs/API.md does not name {code}");
    }
}

fn is_code(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    text.len() > 3 && text.chars().all(plain)
}
