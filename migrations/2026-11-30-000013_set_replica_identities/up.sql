-- If a long-running transaction holds a lock, this migration fails instead of blocking writers, and
-- can be run again.
SET LOCAL lock_timeout = '3s';

-- If a publication, such as one FOR ALL TABLES, contains a table that has neither a primary key nor
-- a replica identity, Postgres rejects every UPDATE and DELETE of the table. In city_counts, state
-- can be NULL, so a primary key is impossible. Setting a replica identity does not rewrite a table.
ALTER TABLE city_counts REPLICA IDENTITY FULL;
ALTER TABLE counted_entries REPLICA IDENTITY FULL;
