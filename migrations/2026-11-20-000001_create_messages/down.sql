DROP FUNCTION try_store_messages_v1;
DROP FUNCTION store_messages_v1;
DROP FUNCTION apply_expiries_v1;
DROP TABLE dead_letters;
DROP TABLE ledger;
DROP TABLE early_expiries;
DROP TABLE message_sequence;
DROP TABLE messages;
