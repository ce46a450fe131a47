//! The ledger: the numbers of accepted, stored and dead-lettered items in each epoch of Redis. A
//! new epoch begins after Redis has lost data.

use std::{fmt, time::Duration};

use diesel::{
    QueryableByName,
    data_types::PgTimestamp,
    sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use mayfly_core::Timestamp;

use crate::store::{ColdError, ColdStore, from_pg};

/// The time after the observed end of an epoch during which reports may still arrive. Processes
/// check the epoch once a second, and report only after their writes in flight have finished.
const REPORT_DELAY_MAX: Duration = Duration::from_secs(10);

/// The handle for the ledger.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    store: &'a ColdStore,
}

/// The state of an epoch in Redis.
#[derive(Debug, Clone, Copy)]
pub struct EpochState<'a> {
    /// The name of the epoch.
    pub epoch: &'a str,
    /// The number of accepted items.
    pub accepted: u64,
    /// The ID of the newest stream entry, if there is one.
    pub newest: Option<&'a str>,
    /// The names of the processes that can accept items.
    pub writers: &'a [&'a str],
}

/// The report of one process about an ended epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochReport<'a> {
    /// The name of the epoch.
    pub epoch: &'a str,
    /// The name of the reporting process.
    pub writer: &'a str,
    /// The greatest total of accepted items that Redis returned to the process.
    pub accepted: u64,
    /// The number of items in writes whose outcome is unknown and that Redis may have executed
    /// after it returned `accepted`.
    pub unresolved: u64,
}

/// A row of the ledger: the counts of one kind of item in one epoch.
#[derive(Debug, Clone, Default)]
pub struct LedgerRow {
    /// The name of the epoch.
    pub epoch: String,
    /// `messages` or `plays`.
    pub kind: String,
    /// The greatest observed number of accepted items. A worker reads the number from Redis about
    /// once a second.
    pub accepted: u64,
    /// The number of items accepted after Redis lost part of its data and before the loss was
    /// detected.
    pub resumed: u64,
    /// The ID of the newest stream entry when `accepted` was observed, if there was one.
    pub newest: Option<String>,
    /// The number of stored items.
    pub stored: u64,
    /// The number of dead-lettered items.
    pub dead_lettered: u64,
    /// The time when the end of the epoch was observed. `None` if no end has been observed.
    pub ended_at: Option<Timestamp>,
    /// The time since `ended_at`, according to the Postgres clock.
    pub ended_for: Option<Duration>,
    /// The maximum of [`EpochReport::accepted`] over all reports, or 0 if no process has reported.
    pub reported: u64,
    /// The sum of [`EpochReport::unresolved`] over all reports.
    pub unresolved: u64,
    /// Whether all processes that could accept items have reported. `false` if these processes are
    /// unknown.
    pub is_reported: bool,
}

/// Bounds on the number of items lost in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The minimum number of lost items.
    pub at_least: u64,
    /// The maximum number of lost items.
    pub at_most: u64,
}

impl LedgerRow {
    /// Returns a lower bound on the number of accepted items. The bound is exact if Redis lost all
    /// data of the epoch and all processes have reported without unresolved items.
    #[must_use]
    pub fn known_accepted(&self) -> u64 {
        match self.resumed {
            0 => self.accepted.max(self.reported).max(self.accounted()),
            resumed => (self.accepted + resumed).max(self.accounted()),
        }
    }

    /// Returns whether reports may still arrive. This is the case if the end of the epoch was
    /// observed recently or has not been observed yet.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        self.ended_for.is_none_or(|ended_for| ended_for < REPORT_DELAY_MAX)
    }

    /// Returns the number of stored and dead-lettered items.
    #[must_use]
    pub fn accounted(&self) -> u64 {
        self.stored + self.dead_lettered
    }

    /// Returns bounds on the number of items lost in an ended epoch, assuming that none of its
    /// items are still queued.
    ///
    /// Every lost item was in the queue. If the number of accepted items has no known upper bound,
    /// the loss is therefore bounded by `queue_max`, the maximum number of items in the queue. The
    /// number of accepted items has no known upper bound if more items have been stored or
    /// dead-lettered than the row records as accepted or unresolved, or if a process that could
    /// accept items has not reported (for example, because the process was killed together with
    /// Redis).
    #[must_use]
    pub fn loss(&self, queue_max: u64) -> Loss {
        let at_least = self.known_accepted() - self.accounted();
        // `accepted` may be about a second old, so a report can contain a greater number.
        let accepted_max = self.accepted.max(self.reported) + self.resumed + self.unresolved;
        let is_certain = self.is_reported && accepted_max >= self.accounted();
        let at_most = if is_certain { accepted_max - self.accounted() } else { queue_max };
        Loss { at_least, at_most: at_most.max(at_least) }
    }
}

impl Loss {
    /// Returns the bounds with the minimum reduced by `queued`, because up to this number of items
    /// may still be queued.
    #[must_use]
    pub fn minus_queued(self, queued: u64) -> Self {
        Self { at_least: self.at_least.saturating_sub(queued), ..self }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_least, at_most } = self;
        match at_least {
            exact if exact == at_most => write!(formatter, "{exact}"),
            0 => write!(formatter, "at most {at_most}"),
            _ => write!(formatter, "between {at_least} and {at_most}"),
        }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    epoch: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    accepted: i64,
    #[diesel(sql_type = BigInt)]
    resumed: i64,
    #[diesel(sql_type = Nullable<Text>)]
    newest: Option<String>,
    #[diesel(sql_type = BigInt)]
    stored: i64,
    #[diesel(sql_type = BigInt)]
    dead_lettered: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<PgTimestamp>,
    #[diesel(sql_type = Nullable<Double>)]
    ended_seconds: Option<f64>,
    #[diesel(sql_type = BigInt)]
    reported: i64,
    #[diesel(sql_type = BigInt)]
    unresolved: i64,
    #[diesel(sql_type = Bool)]
    is_reported: bool,
}

impl From<Row> for LedgerRow {
    fn from(row: Row) -> Self {
        let to_count = |number: i64| u64::try_from(number).unwrap_or(0);
        Self {
            epoch: row.epoch,
            kind: row.kind,
            accepted: to_count(row.accepted),
            resumed: to_count(row.resumed),
            newest: row.newest,
            stored: to_count(row.stored),
            dead_lettered: to_count(row.dead_lettered),
            ended_at: row.ended_at.map(from_pg),
            ended_for: row.ended_seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            reported: to_count(row.reported),
            unresolved: to_count(row.unresolved),
            is_reported: row.is_reported,
        }
    }
}

/// Selects rows of the ledger, each with a summary of the reports about its epoch.
macro_rules! select_rows {
    ($rest:literal) => {
        concat!(
            "SELECT epoch, kind, accepted, resumed, newest, stored, dead_lettered, ended_at, \
                 extract(epoch FROM now() - ended_at)::double precision AS ended_seconds, \
                 coalesce(reports.accepted_max, 0) AS reported, \
                 coalesce(reports.unresolved_sum, 0) AS unresolved, \
                 coalesce(writers <@ coalesce(reports.writers_reported, '{}'), false) \
                     AS is_reported \
             FROM ledger LEFT JOIN LATERAL ( \
                 SELECT max(one.accepted) AS accepted_max, \
                     sum(one.unresolved)::bigint AS unresolved_sum, \
                     array_agg(one.writer) AS writers_reported \
                 FROM ledger_reports AS one \
                 WHERE one.epoch = ledger.epoch AND one.kind = ledger.kind \
             ) AS reports ON true ",
            $rest
        )
    };
}

const LIST: &str = select_rows!("WHERE kind = $1 ORDER BY started_at, epoch");
const FIND: &str = select_rows!("WHERE epoch = $1 AND kind = $2");

const OBSERVE: &str = "WITH present AS ( \
         INSERT INTO ledger AS known (epoch, kind, accepted, newest, writers) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (epoch, kind) \
         DO UPDATE SET accepted = greatest(known.accepted, excluded.accepted), ended_at = NULL, \
             newest = CASE WHEN known.accepted <= excluded.accepted THEN excluded.newest \
                 ELSE known.newest END, \
             writers = excluded.writers \
         WHERE known.accepted < excluded.accepted OR known.ended_at IS NOT NULL \
             OR known.writers IS DISTINCT FROM excluded.writers \
     ) \
     UPDATE ledger SET ended_at = now() WHERE kind = $2 AND epoch <> $1 AND ended_at IS NULL";

const RECORD_LOSS: &str = "UPDATE ledger SET accepted = greatest(accepted, $3), \
         resumed = greatest(resumed, $4) \
     WHERE epoch = $1 AND kind = $2";

const REPORT: &str = "WITH present AS ( \
         INSERT INTO ledger (epoch, kind) VALUES ($1, $2) ON CONFLICT (epoch, kind) DO NOTHING \
     ) \
     INSERT INTO ledger_reports AS known (epoch, kind, writer, accepted, unresolved) \
     VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (epoch, kind, writer) \
     DO UPDATE SET accepted = greatest(known.accepted, excluded.accepted), \
         unresolved = greatest(known.unresolved, excluded.unresolved)";

impl ColdStore {
    /// Returns the handle for the ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger { store: self }
    }
}

impl Ledger<'_> {
    /// Lists the rows for one kind of item, oldest epoch first.
    ///
    /// Complexity: O(e log(e + r) + r) for e epochs and r reports.
    pub async fn list(self, kind: &str) -> Result<Vec<LedgerRow>, ColdError> {
        let rows: Vec<Row> = self
            .store
            .call(async |connection| {
                diesel::sql_query(LIST).bind::<Text, _>(kind).get_results(connection).await
            })
            .await?;
        Ok(rows.into_iter().map(LedgerRow::from).collect())
    }

    /// Finds the row for one kind of item in one epoch.
    ///
    /// Complexity: O(log e + r) for e epochs and r reports about this epoch.
    pub async fn find(self, epoch: &str, kind: &str) -> Result<Option<LedgerRow>, ColdError> {
        let rows: Vec<Row> = self
            .store
            .call(async |connection| {
                diesel::sql_query(FIND)
                    .bind::<Text, _>(epoch)
                    .bind::<Text, _>(kind)
                    .get_results(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().next().map(LedgerRow::from))
    }

    /// Records the state of the current epoch, and marks all other epochs as ended. A worker that
    /// stalls after reading from Redis may pass an epoch that has already ended. The next
    /// observation corrects the record.
    ///
    /// Complexity: O(e) for e epochs.
    pub async fn observe(self, kind: &str, state: EpochState<'_>) -> Result<(), ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(OBSERVE)
                    .bind::<Text, _>(state.epoch)
                    .bind::<Text, _>(kind)
                    .bind::<BigInt, _>(to_bigint(state.accepted))
                    .bind::<Nullable<Text>, _>(state.newest)
                    .bind::<Array<Text>, _>(state.writers)
                    .execute(connection)
                    .await
            })
            .await
            .map(|_| ())
    }

    /// Records that Redis lost part of an epoch's data after `accepted` items had been accepted,
    /// and that `resumed` more items were accepted before the loss was detected.
    ///
    /// Complexity: O(log e) for e epochs.
    pub async fn record_loss(
        self,
        epoch: &str,
        kind: &str,
        accepted: u64,
        resumed: u64,
    ) -> Result<(), ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(RECORD_LOSS)
                    .bind::<Text, _>(epoch)
                    .bind::<Text, _>(kind)
                    .bind::<BigInt, _>(to_bigint(accepted))
                    .bind::<BigInt, _>(to_bigint(resumed))
                    .execute(connection)
                    .await
            })
            .await
            .map(|_| ())
    }

    /// Records the report of a process about an ended epoch. Idempotent.
    ///
    /// Complexity: O(log e + log r) for e epochs and r reports.
    pub async fn report(self, kind: &str, report: EpochReport<'_>) -> Result<(), ColdError> {
        self.store
            .call(async |connection| {
                diesel::sql_query(REPORT)
                    .bind::<Text, _>(report.epoch)
                    .bind::<Text, _>(kind)
                    .bind::<Text, _>(report.writer)
                    .bind::<BigInt, _>(to_bigint(report.accepted))
                    .bind::<BigInt, _>(to_bigint(report.unresolved))
                    .execute(connection)
                    .await
            })
            .await
            .map(|_| ())
    }
}

fn to_bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE_MAX: u64 = 1_000_000;

    fn row(accepted: u64, stored: u64, dead_lettered: u64) -> LedgerRow {
        LedgerRow { accepted, stored, dead_lettered, is_reported: true, ..LedgerRow::default() }
    }

    fn loss(row: &LedgerRow) -> String {
        row.loss(QUEUE_MAX).to_string()
    }

    #[test]
    fn reported_number_makes_the_loss_exact() {
        let observed = row(59_000, 59_000, 0);
        assert_eq!(loss(&observed), "0");
        assert_eq!(loss(&LedgerRow { reported: 60_000, ..observed.clone() }), "1000");
        let all_stored = LedgerRow { reported: 60_000, ..row(59_000, 59_990, 10) };
        assert_eq!((loss(&all_stored), all_stored.known_accepted()), ("0".into(), 60_000));
    }

    #[test]
    fn loss_is_unknown_while_a_process_has_not_reported() {
        let unreported = LedgerRow { is_reported: false, ..row(59_000, 59_000, 0) };
        assert_eq!(loss(&unreported), "at most 1000000");
        let unreported = LedgerRow { is_reported: false, reported: 59_500, ..unreported };
        assert_eq!(loss(&unreported), "between 500 and 1000000");
    }

    #[test]
    fn loss_is_unknown_if_more_is_stored_than_was_accepted() {
        assert_eq!(loss(&row(59_000, 60_000, 0)), "at most 1000000");
    }

    #[test]
    fn writes_with_unknown_outcome_may_be_lost() {
        let unresolved = LedgerRow { unresolved: 7, ..row(10, 8, 0) };
        assert_eq!(loss(&unresolved), "between 2 and 9");
        assert_eq!(loss(&LedgerRow { stored: 12, ..unresolved }), "at most 5");
    }

    #[test]
    fn items_accepted_after_a_partial_loss_are_added() {
        let resumed = LedgerRow { resumed: 500, reported: 700, ..row(700, 1_100, 0) };
        assert_eq!((loss(&resumed), resumed.known_accepted()), ("100".into(), 1_200));
        let later = LedgerRow { reported: 730, ..resumed };
        assert_eq!(loss(&later), "between 100 and 130");
    }

    #[test]
    fn queued_items_are_not_certainly_lost() {
        let lost = row(10, 4, 0).loss(QUEUE_MAX);
        assert_eq!(lost.minus_queued(2).to_string(), "between 4 and 6");
        assert_eq!(lost.minus_queued(9).to_string(), "at most 6");
        assert_eq!(lost.minus_queued(0).to_string(), "6");
    }
}
