//! Tests of the stack with a real Redis and Postgres. This test program also plays the services.

mod checkout;
mod fake_service;
mod servers;
mod supervision;
mod supervisor_kill;
