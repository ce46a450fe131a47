//! Messages: acceptance, lookup, inboxes, expiry, and restoring after data loss.

mod accept;
mod expire;
mod find;
mod inbox;
mod inbox_slots;
mod restore;

pub use self::{
    accept::{MessageWrite, MessageWriteRequest, MessageWriter, ReplayedWrite},
    expire::ReplayedTake,
    find::MessageFinder,
    inbox::{Inbox, InboxPage, TakeOutcome},
    inbox_slots::InboxSlots,
    restore::{LiveMessage, RestoreProgress},
};

use crate::connection::HotStore;

/// Operations on single messages.
#[derive(Clone, Copy)]
pub struct Messages<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on single messages.
    #[must_use]
    pub fn messages(&self) -> Messages<'_> {
        Messages { store: self }
    }
}
