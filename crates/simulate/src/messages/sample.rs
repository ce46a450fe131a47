//! Random sample messages with plausible texts, names and places.

use fastrand::Rng;
use serde::Serialize;

const CHANNELS: [&str; 4] = ["lobby", "lobby", "news", "music"];
const NAMES: [&str; 20] = [
    "fred", "amara", "li", "sofia", "yusuf", "nina", "tom", "ines", "kofi", "mei", "pablo", "ruth",
    "ivan", "zoe", "omar", "lena", "hugo", "aiko", "sam", "priya",
];
const PLACES: [(&str, &str); 20] = [
    ("New York", "NY"),
    ("Los Angeles", "CA"),
    ("Chicago", "IL"),
    ("Houston", "TX"),
    ("Phoenix", "AZ"),
    ("Philadelphia", "PA"),
    ("San Diego", "CA"),
    ("Portland", "OR"),
    ("Austin", "TX"),
    ("Seattle", "WA"),
    ("Denver", "CO"),
    ("Boston", "MA"),
    ("Nashville", "TN"),
    ("Atlanta", "GA"),
    ("Miami", "FL"),
    ("Detroit", "MI"),
    ("Springfield", "IL"),
    ("Memphis", "TN"),
    ("Baltimore", "MD"),
    ("Honolulu", "HI"),
];
const OPENINGS: [&str; 8] = [
    "Yo what up!",
    "Anybody here?",
    "Good morning.",
    "Just arrived.",
    "Did you see that?",
    "Finally!",
    "On my way.",
    "Quick question:",
];
const REMARKS: [&str; 10] = [
    "The train is late again.",
    "Best coffee in town is around the corner.",
    "Who is coming tonight?",
    "It has been raining since noon.",
    "That goal was offside, and everybody knows it.",
    "Somebody left a blue umbrella at the counter.",
    "I need a recommendation for a good taco place.",
    "The new record is out, and it is loud.",
    "Can we move the meeting to half past four?",
    "Look at the moon right now.",
];
/// The times to live of messages, in seconds.
const TTLS: [u32; 8] = [15, 30, 60, 60, 60, 120, 300, 3_600];
/// On average, one in this many messages has no username, and the same share has no place.
const MISSING_ONE_IN: usize = 8;

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sample {
    channel: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    ttl: u32,
}

/// A generator of messages. The same seed generates the same messages.
#[derive(Debug)]
pub(super) struct SampleGenerator {
    random: Rng,
    users: u64,
    cities: u64,
}

impl SampleGenerator {
    pub(super) fn new(seed: u64, users: u64, cities: u64) -> Self {
        Self { random: Rng::with_seed(seed), users, cities }
    }

    pub(super) fn generate(&mut self) -> Sample {
        let random = &mut self.random;
        let username =
            (random.usize(..MISSING_ONE_IN) > 0).then(|| username(random.u64(..self.users)));
        // The minimum of two random numbers gives some cities more messages than others.
        let place = random.u64(..self.cities).min(random.u64(..self.cities));
        let place = (random.usize(..MISSING_ONE_IN) > 0).then(|| city(place));
        let opening = OPENINGS[random.usize(..OPENINGS.len())];
        let remark = REMARKS[random.usize(..REMARKS.len())];
        let (city, state) = place.unzip();
        Sample {
            channel: CHANNELS[random.usize(..CHANNELS.len())],
            username,
            text: format!("{opening} {remark}"),
            city,
            state,
            ttl: TTLS[random.usize(..TTLS.len())],
        }
    }
}

/// Returns the list item for a number, and the number of complete rounds through the list.
fn pick<T: Copy>(list: &[T; 20], number: u64) -> (T, u64) {
    let index = usize::try_from(number % 20).expect("invariant: the remainder is below 20");
    (list[index], number / 20)
}

/// Returns the username for a number.
fn username(number: u64) -> String {
    let (name, round) = pick(&NAMES, number);
    if round == 0 { name.to_owned() } else { format!("{name}{round}") }
}

/// Returns the city and the state for a number. Every number has a different city.
fn city(number: u64) -> (String, &'static str) {
    let ((city, state), round) = pick(&PLACES, number);
    let city = if round == 0 { city.to_owned() } else { format!("{city} {}", round + 1) };
    (city, state)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use mayfly_core::NewMessage;

    use super::*;

    #[test]
    fn same_seed_generates_the_same_messages() {
        let generate = |seed| {
            let mut samples = SampleGenerator::new(seed, 100, 50);
            (0..50).map(|_| samples.generate()).collect::<Vec<_>>()
        };
        assert_eq!(generate(7), generate(7));
        assert_ne!(generate(7), generate(8));
    }

    #[test]
    fn messages_are_valid_and_cover_all_users_and_cities() {
        let mut samples = SampleGenerator::new(1, 30, 40);
        let (mut users, mut cities) = (HashSet::new(), HashSet::new());
        for _ in 0..20_000 {
            let sample = samples.generate();
            let json = serde_json::to_string(&sample).expect("valid JSON");
            NewMessage::from_json(&json).expect("a valid message");

            users.extend(sample.username);
            cities.extend(sample.city);
        }
        assert_eq!((users.len(), cities.len()), (30, 40));
    }
}
