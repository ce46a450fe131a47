//! The HTTP routes of ws-fanout.

mod server_sent_events;
mod static_files;
