//! Events from the hub to the workers.

use std::{sync::Arc, time::Duration};

use mayfly_core::{Position, frame::ResumeFailure};

use crate::frames::{Batch, PlayFrames, StateFrame, TrendFrame};

/// An event that the hub sends to every worker.
#[derive(Clone)]
pub(crate) enum WorkerEvent {
    /// The next entries in the stream.
    Batch(Arc<Batch>),
    /// Live delivery continues at this position. If clients may have missed messages, the second
    /// field is the reason.
    Repositioned(Position, Option<ResumeFailure>),
    /// The newest state of a feed.
    State(Arc<StateFrame>),
    /// New play counts.
    Plays(Arc<PlayFrames>),
    /// The newest trend frame of a host.
    Trend(Arc<TrendFrame>),
    /// Each worker must close all its connections, spread evenly over this duration.
    Drain(Duration),
}

impl WorkerEvent {
    /// Returns the approximate memory that the event occupies, in bytes.
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
