//! A client for the live feeds of ws-fanout: addresses, credentials, connections, frames and
//! reconnection. Also contains functions that escape text and print to the terminal.

mod address;
mod connection;
mod credentials;
mod disconnect;
mod frame;
mod reconnect;
pub mod terminal;

pub use address::{FeedAddress, InvalidAddress};
pub use connection::Connection;
pub use credentials::{Credentials, InvalidKeyFile, KeyFile};
pub use disconnect::Disconnect;
pub use frame::{ErrorFrame, Frame};
pub use reconnect::ReconnectBackoff;
