//! Messages: writes, reads, inboxes and pagination.

mod batch;
mod fields;
mod first_message;
mod idempotency;
mod inbox;
mod pagination;
mod posting;
mod reading;
mod retried_takes;
mod tail;
mod takes;
