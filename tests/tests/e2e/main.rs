//! End to end: the real binaries, a real Redis, a real Postgres.

mod admin;
mod batch;
mod configuration;
mod dead_letters;
mod drain;
mod fields;
mod first_message;
mod frozen;
mod headers;
mod inbox;
mod kills;
mod ledger;
mod malformed;
mod outages;
mod posting;
mod reading;
mod restored;
mod takes;
mod trickles;
mod walk;
