DROP PROCEDURE fill_statistics_v1;
DROP TRIGGER count_messages ON messages;
DROP FUNCTION count_messages_v1;
DROP TABLE statistics_fill;
DROP TABLE message_seconds;
DROP TABLE city_counts;
DROP TABLE usernames;
DROP TABLE cities;
DROP TABLE message_totals;
