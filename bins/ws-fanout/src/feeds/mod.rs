//! Background tasks that follow Redis and broadcast new data to every worker.

mod plays;
mod state;
mod stream;
mod trends;

pub(crate) use self::{plays::follow_plays, stream::StreamFollower};
