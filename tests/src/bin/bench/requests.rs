//! Requests, written once: between two of them only the bytes in one place change.

use std::{ops::Range, sync::Arc};

use crate::effort::USERS;

/// The message that is posted, as JSON.
pub const MESSAGE_BYTES: usize = 200;

/// What one request after the other asks, in the order of the fillings, again and again.
#[derive(Debug, Clone)]
pub struct Requests {
    template: Vec<u8>,
    hole: Range<usize>,
    /// All as long as the hole.
    fillings: Arc<[String]>,
    next: usize,
}

impl Requests {
    /// `POST /v1/messages` by one user after the other.
    pub fn post_messages() -> Self {
        let fillings: Arc<[String]> = (0..USERS).map(username).collect();
        let body = message(&fillings[0], 60);
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        Self::new(head + &body, fillings)
    }

    /// `GET /v1/messages/{id}` of one message after the other.
    pub fn get_messages(ids: Vec<String>) -> Self {
        let first = ids.first().map_or("", String::as_str);
        let head = format!("GET /v1/messages/{first} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        Self::new(head, ids.into())
    }

    fn new(template: String, fillings: Arc<[String]>) -> Self {
        let filling = fillings.first().map_or("", String::as_str);
        let start = template.find(filling).unwrap_or(0);
        let hole = start..start + filling.len();
        Self { template: template.into_bytes(), hole, fillings, next: 0 }
    }

    /// The same requests, beginning elsewhere, for connection `number` of `count`.
    pub fn for_connection(&self, number: usize, count: usize) -> Self {
        Self { next: self.fillings.len() * number / count.max(1), ..self.clone() }
    }

    /// The bytes of the next request.
    pub fn next_request(&mut self) -> &[u8] {
        let filling = &self.fillings[self.next];
        self.template[self.hole.clone()].copy_from_slice(filling.as_bytes());
        self.next += 1;
        if self.next == self.fillings.len() {
            self.next = 0;
        }
        &self.template
    }
}

/// A name, as long as all others.
pub fn username(number: usize) -> String {
    format!("user-{:04}", number % USERS)
}

/// A message of [`MESSAGE_BYTES`] bytes.
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
    fn only_the_filling_changes_from_request_to_request() {
        let mut requests = Requests::post_messages();
        let first = requests.next_request().to_vec();
        assert!(first.ends_with(message("user-0000", 60).as_bytes()));
        let second = requests.next_request();
        assert!(second.ends_with(message("user-0001", 60).as_bytes()));
        assert_eq!(first.len(), second.len());
    }

    #[test]
    fn connections_begin_in_different_places() {
        let requests = Requests::get_messages((0..8).map(|id| id.to_string()).collect());
        let mut fourth = requests.for_connection(3, 4);
        assert!(fourth.next_request().starts_with(b"GET /v1/messages/6 "));
        fourth.next_request();
        assert!(fourth.next_request().starts_with(b"GET /v1/messages/0 "));
    }

    #[test]
    fn a_message_has_its_size_whatever_its_ttl() {
        assert_eq!(message("user-0000", 60).len(), MESSAGE_BYTES);
        assert_eq!(message("user-0000", 3_600).len(), MESSAGE_BYTES);
    }
}
