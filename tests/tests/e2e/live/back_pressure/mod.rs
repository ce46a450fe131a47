//! Slow consumers, and what a connection costs.

mod memory;
mod process_memory;
mod slow_consumers;
mod unread_sockets;
