//! Dependencies between the packages of the workspace. `deny.toml` contains the rules for libraries.

use std::{collections::BTreeSet, fs};

use super::root;

/// Returns all packages in `crates` and `bins` with their dependencies, without dev-dependencies.
fn packages() -> Vec<(String, BTreeSet<String>)> {
    let mut packages = Vec::new();
    for group in ["crates", "bins"] {
        for entry in fs::read_dir(root().join(group)).expect("readable") {
            let manifest = entry.expect("readable").path().join("Cargo.toml");
            let text = fs::read_to_string(&manifest).expect("a package has a manifest");
            let manifest: toml::Table = text.parse().expect("valid TOML");
            let name = manifest["package"]["name"].as_str().expect("`name` is set").to_owned();
            let table = manifest.get("dependencies").and_then(toml::Value::as_table);
            let dependencies = table.map(|table| table.keys().cloned().collect());
            packages.push((name, dependencies.unwrap_or_default()));
        }
    }
    assert!(packages.len() >= 12, "only {} packages found", packages.len());
    packages
}

/// The domain types do not depend on OpenAPI unless the document is built.
#[test]
fn core_depends_on_utoipa_only_for_the_document() {
    let manifest = fs::read_to_string(root().join("crates/core/Cargo.toml")).expect("readable");
    let manifest: toml::Table = manifest.parse().expect("valid TOML");
    assert_eq!(manifest["dependencies"]["utoipa"]["optional"].as_bool(), Some(true));
    assert!(manifest["features"].get("default").is_none());
    for package in ["crates/http", "crates/hot", "crates/cold", "crates/runtime", "crates/s3"] {
        let manifest = root().join(package).join("Cargo.toml");
        let text = fs::read_to_string(manifest).expect("readable");
        assert!(!text.contains("\"openapi\""), "{package} enables the feature of another crate");
    }
}

#[test]
fn dependencies_run_one_way() {
    let rank = |package: &str| match package {
        "mayfly-core" | "mayfly-runtime" => 0,
        "mayfly-auth" => 1,
        "mayfly-hot" | "mayfly-cold" | "mayfly-live-client" | "mayfly-s3" | "mayfly-stack" => 2,
        "mayfly-authenticator" => 3,
        "mayfly-http" => 4,
        "mayfly-openapi" | "mayfly-simulate" => 5,
        _ => 6,
    };
    let packages = packages();
    for (package, dependencies) in &packages {
        let own = dependencies.iter().filter(|name| packages.iter().any(|(own, _)| own == *name));
        for dependency in own {
            assert!(rank(dependency) < rank(package), "{package} depends on {dependency}");
        }
    }
}
