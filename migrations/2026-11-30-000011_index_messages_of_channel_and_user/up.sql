-- A single statement without a surrounding transaction: writers continue while the index is built.
-- A channel contains no space, so the key is unambiguous. One expression and not two columns: see
-- crates/cold/src/messages/page.rs.
CREATE INDEX CONCURRENTLY messages_channel_username_seq
    ON messages (((channel || ' ' || username) COLLATE "C"), seq) WHERE username IS NOT NULL;
