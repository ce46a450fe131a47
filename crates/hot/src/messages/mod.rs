//! Messages: acceptance, lookup, inboxes, expiry, and restoration after data loss.

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
    inbox_slots::{InboxSlot, InboxSlots},
    restore::{LiveMessage, RestoreProgress},
};

use crate::connection::HotStore;

/// Operations on messages: early expiry, lookup of messages that were expired early, and
/// restoration.
#[derive(Clone, Copy)]
pub struct Messages<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on messages.
    #[must_use]
    pub fn messages(&self) -> Messages<'_> {
        Messages { store: self }
    }
}
