//! The stack with real Redis and Postgres, and with services that are played by this very program.

mod fake;
mod house;
mod servers;
mod supervision;
mod survivors;
