//! The totals of accepted items that this process has received from Redis.
//!
//! For each stream, Redis counts the items accepted in the current epoch and returns the total in
//! the reply to every write whose items it accepts. When Redis loses its data, Redis also loses the
//! total, and a new epoch begins. Redis executes writes one at a time, so the greatest total that
//! any process has received includes every write that Redis executed before it returned this total.
//! Only writes whose outcome is unknown can be missing from this total.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use deadpool_redis::redis::{RedisError, Value};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{
    connection::{HotError, is_from_script},
    queue::Stream,
};

/// The time for which the totals of an epoch are kept after its end was observed. The totals are
/// reported repeatedly, because Redis may also lose a report.
const REPORTED_FOR: Duration = Duration::from_secs(60);
/// The maximum length of [`EpochTotals::unresolved`]. If the list has this length, the items in
/// further writes are added to the last pair.
const UNRESOLVED_MAX: usize = 1_000;

/// The totals of accepted items for all streams. Cheap to clone; all connections of a process share
/// the totals.
#[derive(Debug, Clone, Default)]
pub(crate) struct AcceptedTotals {
    streams: Arc<[Mutex<StreamTotals>; Stream::ALL.len()]>,
}

/// The final totals of a stream in an ended epoch, as far as this process knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndedEpoch {
    pub stream: Stream,
    pub epoch: String,
    /// The greatest total of accepted items that Redis returned to this process.
    pub accepted: u64,
    /// The number of items in writes whose outcome is unknown and that Redis may have executed
    /// after it returned `accepted`.
    pub unresolved: u64,
}

#[derive(Debug, Default)]
struct StreamTotals {
    /// The number of writes that have begun.
    begun: u64,
    /// The sequence numbers of the writes in flight.
    in_flight: BTreeSet<u64>,
    /// The totals of each epoch. The order is chronological, because epoch names are UUIDv7.
    epochs: BTreeMap<String, EpochTotals>,
}

#[derive(Debug, Default)]
struct EpochTotals {
    accepted: u64,
    /// The writes with an unknown outcome. Each pair contains the value of `begun` when the outcome
    /// became unknown, followed by the number of items. Writes with the same value share a pair.
    unresolved: Vec<(u64, u64)>,
    /// The end of the epoch, if it has been observed.
    end: Option<EpochEnd>,
}

impl EpochTotals {
    fn add_unresolved(&mut self, begun: u64, items: u64) {
        let is_full = self.unresolved.len() >= UNRESOLVED_MAX;
        match self.unresolved.last_mut() {
            Some(last) if last.0 == begun || is_full => *last = (begun, last.1 + items),
            _ => self.unresolved.push((begun, items)),
        }
    }
}

#[derive(Debug)]
struct EpochEnd {
    /// The value of `begun` when the end was observed. Writes that began after this cannot belong
    /// to the epoch.
    begun: u64,
    observed_at: Instant,
}

/// A write in flight. If this value is dropped before the outcome is recorded, the outcome counts
/// as unknown.
#[must_use]
pub(crate) struct PendingWrite {
    totals: AcceptedTotals,
    stream: Stream,
    number: u64,
    items: u64,
    is_resolved: bool,
}

impl AcceptedTotals {
    fn stream(&self, stream: Stream) -> &Mutex<StreamTotals> {
        &self.streams[stream as usize]
    }

    /// Records that a write of up to `items` items has begun.
    pub(crate) fn begin(&self, stream: Stream, items: usize) -> PendingWrite {
        let mut totals = self.stream(stream).lock();
        totals.begun += 1;
        let number = totals.begun;
        totals.in_flight.insert(number);
        drop(totals);
        let items = items as u64;
        PendingWrite { totals: self.clone(), stream, number, items, is_resolved: false }
    }

    /// Returns the epochs that this process tracks.
    pub(crate) fn known_epochs(&self) -> BTreeSet<String> {
        let streams = Stream::ALL.into_iter();
        streams
            .flat_map(|stream| {
                self.stream(stream).lock().epochs.keys().cloned().collect::<Vec<_>>()
            })
            .collect()
    }

    /// Records that `current` is the epoch in Redis, or that Redis has no epoch. `known` contains
    /// the epochs that were known before Redis was queried. All of them except `current` have
    /// ended. Removes the epochs whose end was observed at least [`REPORTED_FOR`] ago.
    pub(crate) fn observe_epoch(
        &self,
        current: Option<&str>,
        known: &BTreeSet<String>,
        now: Instant,
    ) {
        for stream in Stream::ALL {
            let mut totals = self.stream(stream).lock();
            let begun = totals.begun;
            for (epoch, seen) in &mut totals.epochs {
                let has_ended = Some(epoch.as_str()) != current && known.contains(epoch);
                if has_ended && seen.end.is_none() {
                    seen.end = Some(EpochEnd { begun, observed_at: now });
                }
            }
            if let Some(current) = current {
                totals.epochs.entry(current.to_owned()).or_default();
            }
            totals.epochs.retain(|_, seen| {
                seen.end.as_ref().is_none_or(|end| now < end.observed_at + REPORTED_FOR)
            });
        }
    }

    /// Returns the ended epochs that no write in flight can belong to.
    pub(crate) fn ended_epochs(&self) -> Vec<EndedEpoch> {
        let mut ended = Vec::new();
        for stream in Stream::ALL {
            let totals = self.stream(stream).lock();
            let first_in_flight = totals.in_flight.first().copied().unwrap_or(u64::MAX);
            for (epoch, seen) in &totals.epochs {
                if seen.end.as_ref().is_some_and(|end| end.begun < first_in_flight) {
                    ended.push(EndedEpoch {
                        stream,
                        epoch: epoch.clone(),
                        accepted: seen.accepted,
                        unresolved: seen.unresolved.iter().map(|(_, items)| items).sum(),
                    });
                }
            }
        }
        ended
    }
}

impl PendingWrite {
    /// Records the reply to a write. If items were accepted, the last two elements of the reply,
    /// which begin at `index`, are the epoch and the total of accepted items.
    pub(crate) fn resolve(self, reply: &Result<Vec<Value>, RedisError>, index: usize) {
        match reply.as_ref().map(|reply| reply.get(index..).unwrap_or_default()) {
            Ok([Value::BulkString(epoch), Value::Int(accepted)]) => {
                let accepted = u64::try_from(*accepted).unwrap_or(0);
                self.record_accepted(&String::from_utf8_lossy(epoch), accepted);
            }
            Ok(_) => self.record_nothing(),
            Err(error) if is_refusal(error) => self.record_nothing(),
            // The outcome is unknown.
            Err(_) => drop(self),
        }
    }

    /// Records the total of items that Redis has accepted in an epoch, including this write.
    fn record_accepted(mut self, epoch: &str, accepted: u64) {
        let number = self.number;
        let mut totals = self.remove();
        let seen = totals.epochs.entry(epoch.to_owned()).or_default();
        seen.accepted = seen.accepted.max(accepted);
        // The total includes all writes that Redis executed before this one.
        seen.unresolved.retain(|(begun, _)| *begun >= number);
    }

    /// Records that nothing was written.
    fn record_nothing(mut self) {
        drop(self.remove());
    }

    fn remove(&mut self) -> MutexGuard<'_, StreamTotals> {
        self.is_resolved = true;
        let mut totals = self.totals.stream(self.stream).lock();
        totals.in_flight.remove(&self.number);
        totals
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if self.is_resolved {
            return;
        }
        let (number, items) = (self.number, self.items);
        let mut totals = self.remove();
        let begun = totals.begun;
        // The write may belong to any epoch whose end had not been observed when the write began.
        for seen in totals.epochs.values_mut() {
            if seen.end.as_ref().is_none_or(|end| end.begun >= number) {
                seen.add_unresolved(begun, items);
            }
        }
    }
}

/// Returns whether Redis refused to execute the script. An error from within the script, such as a
/// missing permission, is not a refusal, because the script may have written data before. A
/// [`HotError::Rejected`] is not a refusal either, because its cause is unknown.
fn is_refusal(error: &RedisError) -> bool {
    let is_reply = error.code().is_some();
    is_reply
        && !is_from_script(error)
        && !matches!(HotError::from(error.clone()), HotError::Rejected(_))
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    const MESSAGES: Stream = Stream::Messages;

    /// Observes an epoch as the periodic report does.
    fn observe(totals: &AcceptedTotals, current: Option<&str>) {
        totals.observe_epoch(current, &totals.known_epochs(), Instant::now());
    }

    fn accept(totals: &AcceptedTotals, epoch: &str, accepted: u64) {
        totals.begin(MESSAGES, 1).record_accepted(epoch, accepted);
    }

    /// Returns the numbers of accepted and unresolved messages in each ended epoch.
    fn ended(totals: &AcceptedTotals) -> Vec<(String, u64, u64)> {
        let ended = totals.ended_epochs().into_iter().filter(|one| one.stream == MESSAGES);
        ended.map(|one| (one.epoch, one.accepted, one.unresolved)).collect()
    }

    #[test]
    fn ended_epoch_has_the_greatest_total() {
        let totals = AcceptedTotals::default();
        observe(&totals, Some("e1"));
        accept(&totals, "e1", 20);
        accept(&totals, "e1", 10);
        assert_eq!(ended(&totals), []);
        observe(&totals, Some("e2"));
        assert_eq!(ended(&totals), [("e1".into(), 20, 0)]);
        observe(&totals, None);
        assert_eq!(ended(&totals), [("e1".into(), 20, 0), ("e2".into(), 0, 0)]);
    }

    #[test]
    fn ended_epoch_is_returned_once_no_earlier_write_is_in_flight() {
        let totals = AcceptedTotals::default();
        observe(&totals, Some("e1"));
        let (early, lost) = (totals.begin(MESSAGES, 5), totals.begin(MESSAGES, 7));
        observe(&totals, Some("e2"));
        let late = totals.begin(MESSAGES, 1);
        drop(lost);
        assert_eq!(ended(&totals), []);
        early.record_accepted("e1", 5);
        assert_eq!(ended(&totals), [("e1".into(), 5, 7)]);
        late.record_accepted("e2", 1);
    }

    #[test]
    fn later_total_includes_writes_with_an_unknown_outcome() {
        let totals = AcceptedTotals::default();
        observe(&totals, Some("e1"));
        let overlapping = totals.begin(MESSAGES, 1);
        drop(totals.begin(MESSAGES, 7));
        overlapping.record_accepted("e1", 1);
        totals.begin(MESSAGES, 3).record_nothing();
        let before = totals.stream(MESSAGES).lock().epochs["e1"].unresolved.len();
        accept(&totals, "e1", 9);
        observe(&totals, Some("e2"));
        assert_eq!((before, ended(&totals)), (1, vec![("e1".into(), 9, 0)]));
    }

    #[test]
    fn write_has_an_unknown_outcome_if_its_script_failed() {
        let location = "script: 12ab, on @user_script:9.";
        for (line, unresolved) in [
            ("OOM command not allowed when used memory > 'maxmemory'.".to_owned(), 0),
            ("NOPERM User app has no permissions to run the 'evalsha' command".to_owned(), 0),
            (format!("ERR The user executing the script can't run this command {location}"), 7),
            (format!("ERR ACL failure in script: User app has no permissions {location}"), 7),
            (format!("NOPERM User app has no permissions {location}"), 7),
            (format!("WRONGTYPE Operation against a key {location}"), 7),
        ] {
            let totals = AcceptedTotals::default();
            observe(&totals, Some("e1"));
            let reply = parse_redis_value(format!("-{line}\r\n").as_bytes());
            let Ok(Value::ServerError(error)) = &reply else { panic!("not an error: {reply:?}") };
            totals.begin(MESSAGES, 7).resolve(&Err(error.clone().into()), 1);
            observe(&totals, Some("e2"));
            assert_eq!(ended(&totals), [("e1".into(), 0, unresolved)], "{line}");
        }
    }

    #[test]
    fn epoch_that_began_while_redis_was_queried_has_not_ended() {
        let totals = AcceptedTotals::default();
        observe(&totals, Some("e1"));
        let known = totals.known_epochs();
        accept(&totals, "e2", 1);
        totals.observe_epoch(None, &known, Instant::now());
        assert_eq!(ended(&totals), [("e1".into(), 0, 0)]);
    }

    #[test]
    fn ended_epoch_is_forgotten_after_a_minute() {
        let totals = AcceptedTotals::default();
        observe(&totals, Some("e1"));
        observe(&totals, Some("e2"));
        let later = Instant::now() + REPORTED_FOR;
        totals.observe_epoch(Some("e2"), &totals.known_epochs(), later);
        assert_eq!(ended(&totals), []);
    }
}
