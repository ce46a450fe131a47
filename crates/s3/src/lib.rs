//! Objects in S3: the snapshot of the statistics, written and signed for. The only crate that names
//! aws.
//!
//! Credentials, region and endpoint are those that everyone knows: `AWS_ACCESS_KEY_ID` and its kin,
//! profiles, the web identity of a pod, the role of a machine. They are read again while the process
//! runs, so that what is rotated is followed.

mod credentials;
mod error;
mod object;
mod session;

pub use error::S3Error;
pub use object::{S3, SIGNED_FOR, SignedUrl};
