//! Prepared requests: only the bytes of one placeholder change between two requests.

use std::{ops::Range, sync::Arc};

use crate::effort::USERS;

/// The length of a posted message, as JSON.
pub const MESSAGE_BYTES: usize = 200;

/// A cycle of requests that differ in one value.
#[derive(Debug, Clone)]
pub struct Requests {
    template: Vec<u8>,
    placeholder: Range<usize>,
    /// All values have the length of the placeholder.
    values: Arc<[String]>,
    next: usize,
}

impl Requests {
    /// Returns `POST /v1/messages` requests that cycle through the users. `authorization` is a
    /// header line, or empty.
    pub fn post_messages(authorization: &str) -> Self {
        let values: Arc<[String]> = (0..USERS).map(username).collect();
        let body = message(&values[0], 60);
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             {authorization}content-length: {}\r\n\r\n",
            body.len()
        );
        Self::new(head + &body, values)
    }

    /// Returns `GET /v1/messages/{id}` requests that cycle through the IDs. `authorization` is a
    /// header line, or empty.
    pub fn get_messages(ids: Vec<String>, authorization: &str) -> Self {
        let first = ids.first().map_or("", String::as_str);
        let head =
            format!("GET /v1/messages/{first} HTTP/1.1\r\nhost: 127.0.0.1\r\n{authorization}\r\n");
        Self::new(head, ids.into())
    }

    fn new(template: String, values: Arc<[String]>) -> Self {
        let value = values.first().map_or("", String::as_str);
        let start = template.find(value).unwrap_or(0);
        let placeholder = start..start + value.len();
        Self { template: template.into_bytes(), placeholder, values, next: 0 }
    }

    /// Returns the same cycle with another starting point, for connection `number` of `count`.
    pub fn for_connection(&self, number: usize, count: usize) -> Self {
        Self { next: self.values.len() * number / count.max(1), ..self.clone() }
    }

    /// Returns the next request.
    pub fn next_request(&mut self) -> &[u8] {
        let value = &self.values[self.next];
        self.template[self.placeholder.clone()].copy_from_slice(value.as_bytes());
        self.next += 1;
        if self.next == self.values.len() {
            self.next = 0;
        }
        &self.template
    }
}

/// Returns a username. All usernames have the same length.
pub fn username(number: usize) -> String {
    format!("user-{:04}", number % USERS)
}

/// Returns a JSON message of [`MESSAGE_BYTES`] bytes.
pub fn message(username: &str, ttl_secs: u32) -> String {
    const WORDS: &str = "It was the best of times, it was the worst of times, it was the age of \
        wisdom, it was the age of foolishness, it was the epoch of belief, it was the epoch of \
        incredulity";
    let (before, after) =
        (format!(r#"{{"username":"{username}","text":""#), format!(r#"","ttl":{ttl_secs}}}"#));
    let text = &WORDS[..MESSAGE_BYTES - before.len() - after.len()];
    format!("{before}{text}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_changes_between_requests() {
        let mut requests = Requests::post_messages("authorization: Bearer x\r\n");
        let first = requests.next_request().to_vec();
        assert!(first.ends_with(message("user-0000", 60).as_bytes()));
        let second = requests.next_request();
        assert!(second.ends_with(message("user-0001", 60).as_bytes()));
        assert_eq!(first.len(), second.len());
    }

    #[test]
    fn connections_start_at_different_values() {
        let requests = Requests::get_messages((0..8).map(|id| id.to_string()).collect(), "");
        let mut fourth = requests.for_connection(3, 4);
        assert!(fourth.next_request().starts_with(b"GET /v1/messages/6 "));
        fourth.next_request();
        assert!(fourth.next_request().starts_with(b"GET /v1/messages/0 "));
    }

    #[test]
    fn message_size_does_not_depend_on_its_ttl() {
        assert_eq!(message("user-0000", 60).len(), MESSAGE_BYTES);
        assert_eq!(message("user-0000", 3_600).len(), MESSAGE_BYTES);
    }
}
