//! Slow consumers, and what a connection costs.

mod memory;
mod slow_consumers;
mod unread_sockets;
