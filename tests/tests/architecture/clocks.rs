//! Decisions about time use the clock of Redis or Postgres, not the clock of a process.

use std::fs;

use super::product_code;

/// The files that define the system clock, and the store that compares it with the clock of Redis.
const READERS: [&str; 3] = [
    "crates/core/src/clock/mod.rs",
    "crates/core/src/lib.rs",
    "crates/hot/src/connection/store.rs",
];

/// Two processes whose clocks differ would trim, expire or publish differently.
#[test]
fn services_do_not_read_the_system_clock() {
    for file in product_code() {
        let text = fs::read_to_string(&file).expect("valid UTF-8");
        // Unit tests may read the system clock.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_reader = READERS.iter().any(|reader| file.ends_with(reader));
        assert!(
            is_reader || !code.contains("SystemClock"),
            "{} reads the system clock: use `HotStore::clock`, or `now()` in SQL",
            file.display()
        );
    }
}
