//! Checks the credentials of a request, the origin of the page that sent it (`Origin`), and the
//! host that it addresses (`Host`).

mod caller_identity;
mod cors;
mod credentials;
mod host;
mod origin;

pub use self::{
    caller_identity::CallerIdentity, credentials::CredentialsDigest, origin::find_forbidden_origin,
};
pub(crate) use self::{
    cors::{cors, strip_disallowed_preflight, write_cors_headers},
    credentials::{find_credentials, find_credentials_or_token},
    host::{check_host, find_forbidden_host},
    origin::check_origin,
};
