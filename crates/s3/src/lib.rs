//! The statistics snapshot in S3: uploads, access checks and presigned URLs. This is the only crate
//! that depends on the AWS SDK.
//!
//! Credentials, region and endpoint come from the SDK's usual sources: environment variables such
//! as `AWS_ACCESS_KEY_ID`, profiles, web identities and instance roles. The store reloads these
//! values while the process runs, so that rotated credentials take effect.

mod credentials;
mod error;
mod session;
mod snapshot_store;

pub use error::S3Error;
pub use snapshot_store::{S3Future, SignedUrl, SnapshotStore, URL_LIFETIME};
