//! The servers that the services need: Redis, Postgres, S3.

pub(crate) mod postgres;
pub(crate) mod postgres_binaries;
pub(crate) mod redis;
pub(crate) mod s3;

use std::path::PathBuf;

/// Finds a program in `PATH` and in the places where it may lie besides.
pub(crate) fn find_program(name: &str, besides: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(besides.iter().map(PathBuf::from));
    places.map(|dir| dir.join(name)).find(|program| program.is_file())
}
