//! Dead letters: entries that Postgres rejected or that could not be decoded.

use std::time::Duration;

use diesel::{
    data_types::PgTimestamp,
    prelude::*,
    sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mayfly_core::{EntryId, MessageId, message::expire_json};
use uuid::Uuid;

use crate::{
    plays::to_i64,
    store::{ColdError, ColdStore, ReadKind, dead_letters, early_expiries, from_pg},
};

/// The handle for dead letters.
#[derive(Clone, Copy)]
pub struct DeadLetters<'a> {
    store: &'a ColdStore,
}

/// An entry to store in the dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The name of the stream.
    pub stream: &'static str,
    /// The epoch in which the entry was accepted. A new epoch begins after Redis has lost data.
    pub epoch: String,
    /// The ID of the entry in the stream.
    pub entry_id: String,
    /// The kind of the entry: the name of its first field.
    pub kind: String,
    /// The ID of the message, if the entry contains one.
    pub message_id: Option<MessageId>,
    /// The unique ID of the entry, read from its body, if the entry contains plays.
    pub plays_id: Option<Uuid>,
    /// The number of items in the entry: messages or plays.
    pub items: u32,
    /// The body of the entry.
    pub body: Vec<u8>,
    /// The request ID and the trace context of the request that created the entry.
    pub meta: String,
    /// Why the entry could not be stored.
    pub reason: String,
    /// The number of attempts to store the entry.
    pub attempts: u32,
}

/// Locks two rows. Transactions that store or expire messages also lock the row in
/// `message_sequence`, and transactions that count plays also lock the row in `play_totals`.
/// Transactions that insert dead letters are therefore serialized with both kinds.
const LOCKS: [&str; 2] =
    ["SELECT last FROM message_sequence FOR UPDATE", "SELECT FROM play_totals FOR UPDATE"];

/// Inserts a dead letter and counts its items in the ledger, unless the entry is already a dead
/// letter, its message is already stored, or its plays are already counted.
const INSERT: &str = "WITH inserted AS ( \
         INSERT INTO dead_letters (stream, epoch, entry_id, kind, message_id, body, meta, reason, \
             attempts, items, plays_id) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 \
         WHERE NOT EXISTS (SELECT 1 FROM messages WHERE messages.id = $5) \
             AND ($11 IS NULL OR NOT EXISTS ( \
                 SELECT 1 FROM counted_entries \
                 WHERE (last_ms, last_number) >= ($12, $13) \
                     AND (first_ms, first_number) <= ($12, $13) \
                     AND $11 = ANY (ids) \
             )) \
         ON CONFLICT (stream, epoch, entry_id) DO NOTHING \
         RETURNING items \
     ) \
     INSERT INTO ledger AS known (epoch, kind, dead_lettered) \
     SELECT $2, $1, sum(items) FROM inserted HAVING sum(items) > 0 \
     ON CONFLICT (epoch, kind) \
     DO UPDATE SET dead_lettered = known.dead_lettered + excluded.dead_lettered";

/// Selects whether an expiry is recorded for a message that is not stored.
const IS_EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM early_expiries WHERE id = $1) AS is_expired";

#[derive(diesel::QueryableByName)]
struct IsExpired {
    #[diesel(sql_type = Bool)]
    is_expired: bool,
}

impl ColdStore {
    /// Returns the handle for dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters<'_> {
        DeadLetters { store: self }
    }
}

impl DeadLetters<'_> {
    /// Inserts a dead letter, unless its message is already stored or its plays are already
    /// counted. Returns whether a take or a deletion of the message is recorded in
    /// `early_expiries`. Idempotent.
    ///
    /// Complexity: O(log m + c) for m messages and dead letters and, if the entry contains plays, c
    /// records of counted entries since that entry.
    pub async fn insert(self, letter: &DeadLetter, timeout: Duration) -> Result<bool, ColdError> {
        self.store
            .call_within(timeout, async |connection| {
                connection.transaction(async |connection| insert(connection, letter).await).await
            })
            .await
    }

    /// Finds the JSON of a dead-lettered message. If the message was taken or deleted, the JSON
    /// contains the time of the take or deletion as the expiry time.
    ///
    /// Complexity: O(log d) for d dead letters.
    pub async fn find_message(self, id: MessageId) -> Result<Option<Vec<u8>>, ColdError> {
        let found: Option<(Vec<u8>, Option<PgTimestamp>)> = self
            .store
            .read(ReadKind::MessagesById, async |connection| {
                dead_letters::table
                    .left_join(
                        early_expiries::table
                            .on(dead_letters::message_id.eq(early_expiries::id.nullable())),
                    )
                    .filter(dead_letters::message_id.eq(id.as_uuid()))
                    .select((dead_letters::body, early_expiries::expires_at.nullable()))
                    .first(connection)
                    .await
                    .optional()
            })
            .await?;
        Ok(found.map(|(json, expired_at)| match expired_at {
            Some(at) => expire_json(json, from_pg(at)),
            None => json,
        }))
    }

    /// Returns the number of dead letters, which database triggers maintain.
    ///
    /// Complexity: O(1).
    pub async fn count(self) -> Result<u64, ColdError> {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        self.store
            .call(async |connection| {
                diesel::sql_query("SELECT letters AS count FROM dead_letter_totals")
                    .get_result::<Count>(connection)
                    .await
            })
            .await
            .map(|row| u64::try_from(row.count).unwrap_or(0))
    }
}

async fn insert(connection: &mut AsyncPgConnection, letter: &DeadLetter) -> QueryResult<bool> {
    // Text in Postgres cannot contain U+0000.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let message_id = letter.message_id.map(MessageId::as_uuid);
    let position: EntryId = letter.entry_id.parse().unwrap_or(EntryId::START);
    for lock in LOCKS {
        diesel::sql_query(lock).execute(connection).await?;
    }
    diesel::sql_query(INSERT)
        .bind::<Text, _>(letter.stream)
        .bind::<Text, _>(clean(&letter.epoch))
        .bind::<Text, _>(&letter.entry_id)
        .bind::<Text, _>(clean(&letter.kind))
        .bind::<Nullable<SqlUuid>, _>(message_id)
        .bind::<Binary, _>(&letter.body)
        .bind::<Text, _>(clean(&letter.meta))
        .bind::<Text, _>(clean(&letter.reason))
        .bind::<Integer, _>(i32::try_from(letter.attempts).unwrap_or(i32::MAX))
        .bind::<Integer, _>(i32::try_from(letter.items).unwrap_or(i32::MAX))
        .bind::<Nullable<SqlUuid>, _>(letter.plays_id)
        .bind::<BigInt, _>(to_i64(position.millis))
        .bind::<BigInt, _>(to_i64(position.number))
        .execute(connection)
        .await?;
    diesel::sql_query(IS_EXPIRED)
        .bind::<Nullable<SqlUuid>, _>(message_id)
        .get_result::<IsExpired>(connection)
        .await
        .map(|row| row.is_expired)
}
