-- A single statement without a surrounding transaction, so that writers continue while the index is
-- built.
-- A channel contains no space, so the key is unambiguous. crates/cold/src/messages/page.rs explains
-- why the index has one expression instead of two columns.
CREATE INDEX CONCURRENTLY messages_channel_username_seq
    ON messages (((channel || ' ' || username) COLLATE "C"), seq) WHERE username IS NOT NULL;
