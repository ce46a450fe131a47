//! Which web pages may cause a request: its `Origin`, and the `Host` that it addresses.

mod cors;
mod host;
mod origin;

pub use self::origin::find_forbidden_origin;
pub(crate) use self::{
    cors::{cors, strip_disallowed_preflight, write_cors_headers},
    host::check_host,
    origin::check_origin,
};
