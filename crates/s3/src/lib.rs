//! The statistics snapshot in S3: written, checked, and signed for readers. The only crate that
//! depends on the AWS SDK.
//!
//! Credentials, region and endpoint come from the usual sources of the SDK: environment variables
//! such as `AWS_ACCESS_KEY_ID`, profiles, web identities and instance roles. They are reloaded
//! while the process runs, so that rotated credentials take effect.

mod credentials;
mod error;
mod session;
mod snapshot_store;

pub use error::S3Error;
pub use snapshot_store::{S3Future, SignedUrl, SnapshotStore, URL_LIFETIME};
