//! Simulations for `mayfly simulate`: sample messages, a walk through all stored messages, and
//! video plays.

mod http_client;
mod messages;
mod options;
mod plays;
mod progress;
mod request_times;
mod stack;
mod walk;

pub use messages::write_messages;
pub use options::{MessagesOptions, PlaysOptions, Simulate, WalkOptions};
pub use plays::reset::delete_simulated_videos;
pub use plays::simulate_plays;
pub use stack::saved_stack::SavedStackFile;
pub use walk::Walk;

/// The exit code of an interrupted command.
const INTERRUPTED: u8 = 130;
