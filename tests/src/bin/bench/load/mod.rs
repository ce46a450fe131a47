//! HTTP load, and the baseline server that Mayfly is compared with.

mod bare_server;
mod clients;
mod connection;
mod requests;
mod rounds;

pub use bare_server::{Arguments, BareServer, serve};
pub use clients::Load;
pub use connection::{Connection, Response};
pub use requests::{MESSAGE_BYTES, Requests, message, username};
pub use rounds::{AfterRound, Contender, alternate};
