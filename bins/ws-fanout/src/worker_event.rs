//! Events from the hub to the workers.

use std::{sync::Arc, time::Duration};

use mayfly_core::{Position, frame::ResumeFailure};

use crate::frames::{Batch, PlayFrames, StateFrame, TrendFrame};

/// An event that the hub sends to every worker.
#[derive(Clone)]
pub(crate) enum WorkerEvent {
    /// The next entries of the stream.
    Batch(Arc<Batch>),
    /// Live delivery continues at another position. A reason means that messages may have been
    /// missed.
    Repositioned(Position, Option<ResumeFailure>),
    /// The newest state of a feed.
    State(Arc<StateFrame>),
    /// New play counts.
    Plays(Arc<PlayFrames>),
    /// The newest trend frame of a host.
    Trend(Arc<TrendFrame>),
    /// All connections are to be closed, evenly over this duration.
    Drain(Duration),
}

impl WorkerEvent {
    /// Returns the approximate memory that the event occupies.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.size_bytes(),
            Self::Plays(plays) => plays.size_bytes(),
            Self::Trend(frame) => frame.size_bytes(),
            Self::State(frame) => frame.size_bytes(),
            Self::Repositioned(..) | Self::Drain(_) => 0,
        }
    }
}
