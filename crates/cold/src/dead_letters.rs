//! Entries that Postgres refused, or that nobody could read.

use std::time::Duration;

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl,
    sql_types::{BigInt, Binary, Integer, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use mayfly_core::MessageId;

use crate::{Cold, error::ColdError, schema::dead_letters};

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
    /// Its body as it was.
    pub body: Vec<u8>,
    /// Where it came from.
    pub meta: String,
    /// Why it is here.
    pub reason: String,
    /// How often Postgres refused it.
    pub attempts: u32,
}

/// Buries once, counts what was buried, and leaves out a message that another worker stored.
const BURY: &str = "WITH buried AS ( \
         INSERT INTO dead_letters (stream, epoch, entry_id, kind, message_id, body, meta, reason, attempts) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 \
         WHERE NOT EXISTS (SELECT 1 FROM messages WHERE messages.id = $5) \
         ON CONFLICT (stream, epoch, entry_id) DO NOTHING \
         RETURNING message_id \
     ) \
     INSERT INTO ledger AS known (epoch, kind, dead_lettered) \
     SELECT $2, $1, count(*) FROM buried WHERE message_id IS NOT NULL HAVING count(*) > 0 \
     ON CONFLICT (epoch, kind) \
     DO UPDATE SET dead_lettered = known.dead_lettered + excluded.dead_lettered";

impl Cold {
    /// Puts an entry among the dead letters; twice is once.
    pub async fn insert_dead_letter(
        &self,
        letter: &DeadLetter,
        timeout: Duration,
    ) -> Result<(), ColdError> {
        // Postgres takes no U+0000 in a text.
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        self.call_within(timeout, async |connection| {
            diesel::sql_query(BURY)
                .bind::<Text, _>(letter.stream)
                .bind::<Text, _>(clean(&letter.epoch))
                .bind::<Text, _>(&letter.entry_id)
                .bind::<Text, _>(clean(&letter.kind))
                .bind::<Nullable<SqlUuid>, _>(letter.message_id.map(MessageId::as_uuid))
                .bind::<Binary, _>(&letter.body)
                .bind::<Text, _>(clean(&letter.meta))
                .bind::<Text, _>(clean(&letter.reason))
                .bind::<Integer, _>(i32::try_from(letter.attempts).unwrap_or(i32::MAX))
                .execute(connection)
                .await
        })
        .await
        .map(|_| ())
    }

    /// The JSON of an accepted message that lies among the dead letters.
    pub async fn find_dead_message(&self, id: MessageId) -> Result<Option<Vec<u8>>, ColdError> {
        self.call(async |connection| {
            dead_letters::table
                .filter(dead_letters::message_id.eq(id.as_uuid()))
                .select(dead_letters::body)
                .first(connection)
                .await
                .optional()
        })
        .await
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
