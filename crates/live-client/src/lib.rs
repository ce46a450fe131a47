//! A client for the live feeds of ws-fanout: addresses, connections, frames and reconnection. Also
//! contains functions that escape text and print to the terminal.

mod address;
mod connection;
mod disconnect;
mod frame;
mod reconnect;
pub mod terminal;

pub use address::{FeedAddress, InvalidAddress};
pub use connection::Connection;
pub use disconnect::Disconnect;
pub use frame::Frame;
pub use reconnect::ReconnectBackoff;
