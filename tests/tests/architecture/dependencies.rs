//! Dependencies between the packages of the workspace.

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

#[test]
fn each_technology_has_one_owner() {
    let services = ["ingest-api", "list-api", "ws-fanout"];
    for (package, dependencies) in packages() {
        for dependency in &dependencies {
            let allowed = match dependency.as_str() {
                "redis" | "deadpool-redis" => package == "mayfly-hot",
                "diesel" | "diesel-async" | "diesel_migrations" => package == "mayfly-cold",
                "actix-codec" | "actix-cors" | "actix-http" | "actix-server" | "actix-service" => {
                    package == "mayfly-http"
                }
                "actix-web" => package == "mayfly-http" || services.contains(&package.as_str()),
                "s3s" | "s3s-fs" => package == "mayfly-stack",
                "jsonwebtoken" => package == "mayfly-auth",
                aws if aws.starts_with("aws-") => package == "mayfly-s3",
                // The crate that defines a type derives its schema, under a feature.
                "utoipa" => package == "mayfly-openapi" || package == "mayfly-core",
                "utoipa-swagger-ui" => package == "mayfly-openapi",
                "reqwest" => false,
                _ => true,
            };
            assert!(allowed, "{package} depends on {dependency}, which another package owns");
        }
    }
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

#[test]
fn ingest_api_and_ws_fanout_cannot_reach_postgres() {
    for (package, dependencies) in packages() {
        if package == "ingest-api" || package == "ws-fanout" {
            assert!(!dependencies.contains("mayfly-cold"), "{package}");
        }
    }
}
