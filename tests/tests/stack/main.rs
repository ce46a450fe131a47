//! Tests of the stack with a real Redis and Postgres. This test program also runs as the fake
//! services.

mod checkout;
mod fake_service;
mod servers;
mod supervision;
mod supervisor_kill;
