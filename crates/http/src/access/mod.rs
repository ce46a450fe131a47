//! Checks of the web page that caused a request (`Origin`), and of the host that it addresses
//! (`Host`).

mod cors;
mod host;
mod origin;

pub use self::origin::find_forbidden_origin;
pub(crate) use self::{
    cors::{cors, strip_disallowed_preflight, write_cors_headers},
    host::check_host,
    origin::check_origin,
};
