//! Background tasks that read new data from Redis and broadcast it to every worker.

mod plays;
mod state;
mod stream;
mod trends;

pub(crate) use self::{plays::follow_plays, stream::StreamFollower};
