//! The tables used with diesel's query builder, and the check that the schema exists.

use diesel::{QueryableByName, result::QueryResult, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Returns whether the newest function that the services call and the newest tables exist.
pub(super) async fn exists(connection: &mut AsyncPgConnection) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_present: bool,
    }
    diesel::sql_query(
        "SELECT to_regproc('store_samples_v1') IS NOT NULL \
             AND to_regclass('dead_letter_totals') IS NOT NULL \
             AND to_regclass('token_revocations') IS NOT NULL AS is_present",
    )
    .get_result::<Row>(connection)
    .await
    .map(|row| row.is_present)
}

diesel::table! {
    messages (id) {
        id -> Uuid,
        seq -> BigInt,
        channel -> Text,
        username -> Nullable<Text>,
        text -> Nullable<Text>,
        data -> Nullable<Json>,
        city -> Nullable<Text>,
        state -> Nullable<Text>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        body_bytes -> Integer,
    }
}

diesel::table! {
    dead_letters (id) {
        id -> BigInt,
        stream -> Text,
        epoch -> Text,
        entry_id -> Text,
        kind -> Text,
        message_id -> Nullable<Uuid>,
        body -> Binary,
        meta -> Text,
        reason -> Text,
        attempts -> Integer,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    early_expiries (id) {
        id -> Uuid,
        expires_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(dead_letters, early_expiries);
