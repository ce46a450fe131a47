//! End to end: the real binaries, a real Redis, a real Postgres.

mod admin;
mod batch;
mod client;
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
mod live;
mod malformed;
mod outages;
mod page;
mod posting;
mod reading;
mod restored;
mod tail;
mod takes;
mod trickles;
mod walk;
