//! End to end: the real binaries, a real Redis, a real Postgres.

mod first_message;
mod kills;
mod ledger;
