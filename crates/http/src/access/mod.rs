//! Checks the origin of the page that sent a request (`Origin`) and the host that the request
//! addresses (`Host`).

mod cors;
mod host;
mod origin;

pub use self::origin::find_forbidden_origin;
pub(crate) use self::{
    cors::{cors, strip_disallowed_preflight, write_cors_headers},
    host::{check_host, find_forbidden_host},
    origin::check_origin,
};
