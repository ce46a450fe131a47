//! Entries that Postgres refused, or that nobody could read.

use std::time::Duration;

use diesel::{
    data_types::PgTimestamp,
    prelude::*,
    sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mayfly_core::{MessageId, message::expire_json};
use uuid::Uuid;

use crate::{
    Cold,
    error::ColdError,
    messages::from_pg,
    schema::{dead_letters, early_expiries},
};

/// An entry that left its queue without being stored.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The queue that it left.
    pub stream: &'static str,
    /// The epoch in which it was written.
    pub epoch: String,
    /// Its id in that queue.
    pub entry_id: String,
    /// The name of its first field.
    pub kind: String,
    /// The message that it brought, if it brought one.
    pub message_id: Option<MessageId>,
    /// The id that plays carry, if it brought some.
    pub plays_id: Option<Uuid>,
    /// How many items it brought: messages or plays.
    pub items: u32,
    /// Its body as it was.
    pub body: Vec<u8>,
    /// Where it came from.
    pub meta: String,
    /// Why it is here.
    pub reason: String,
    /// How often Postgres refused it.
    pub attempts: u32,
}

/// Whoever stores or buries holds one of these rows: an expiry that is applied at the same time sees
/// the dead letter, or is seen by it, and nobody counts what is buried.
const LOCKS: [&str; 2] =
    ["SELECT last FROM message_sequence FOR UPDATE", "SELECT FROM play_totals FOR UPDATE"];

/// Buries once, counts what was buried, and leaves out what another worker stored or counted.
const BURY: &str = "WITH buried AS ( \
         INSERT INTO dead_letters (stream, epoch, entry_id, kind, message_id, body, meta, reason, attempts, items, plays_id) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 \
         WHERE NOT EXISTS (SELECT 1 FROM messages WHERE messages.id = $5) \
             AND NOT EXISTS (SELECT 1 FROM counted_entries WHERE $11 = ANY (ids)) \
         ON CONFLICT (stream, epoch, entry_id) DO NOTHING \
         RETURNING items \
     ) \
     INSERT INTO ledger AS known (epoch, kind, dead_lettered) \
     SELECT $2, $1, sum(items) FROM buried HAVING sum(items) > 0 \
     ON CONFLICT (epoch, kind) \
     DO UPDATE SET dead_lettered = known.dead_lettered + excluded.dead_lettered";

/// Whether a message was taken or deleted before it was buried.
const IS_EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM early_expiries WHERE id = $1) AS is_expired";

#[derive(diesel::QueryableByName)]
struct IsExpired {
    #[diesel(sql_type = Bool)]
    is_expired: bool,
}

impl Cold {
    /// Puts an entry among the dead letters; twice is once. Gives whether the message that it
    /// brought had been taken or deleted.
    pub async fn insert_dead_letter(
        &self,
        letter: &DeadLetter,
        timeout: Duration,
    ) -> Result<bool, ColdError> {
        self.call_within(timeout, async |connection| {
            connection.transaction(async |connection| bury(connection, letter).await).await
        })
        .await
    }

    /// The JSON of an accepted message that lies among the dead letters, with the end that a take
    /// or a deletion gave it.
    pub async fn find_dead_message(&self, id: MessageId) -> Result<Option<Vec<u8>>, ColdError> {
        let found: Option<(Vec<u8>, Option<PgTimestamp>)> = self
            .call(async |connection| {
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

    /// How many dead letters there are.
    pub async fn count_dead_letters(&self) -> Result<u64, ColdError> {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        self.call(async |connection| {
            diesel::sql_query("SELECT count(*) AS count FROM dead_letters")
                .get_result::<Count>(connection)
                .await
        })
        .await
        .map(|row| u64::try_from(row.count).unwrap_or(0))
    }
}

async fn bury(connection: &mut AsyncPgConnection, letter: &DeadLetter) -> QueryResult<bool> {
    // Postgres takes no U+0000 in a text.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let message_id = letter.message_id.map(MessageId::as_uuid);
    for lock in LOCKS {
        diesel::sql_query(lock).execute(connection).await?;
    }
    diesel::sql_query(BURY)
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
        .execute(connection)
        .await?;
    diesel::sql_query(IS_EXPIRED)
        .bind::<Nullable<SqlUuid>, _>(message_id)
        .get_result::<IsExpired>(connection)
        .await
        .map(|row| row.is_expired)
}
