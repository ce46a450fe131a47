//! The tables as diesel knows them.

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
    ledger (epoch, kind) {
        epoch -> Text,
        kind -> Text,
        accepted -> BigInt,
        stored -> BigInt,
        dead_lettered -> BigInt,
        started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    early_expiries (id) {
        id -> Uuid,
        expires_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(dead_letters, early_expiries);
