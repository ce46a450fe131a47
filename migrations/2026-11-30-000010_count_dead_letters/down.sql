DROP TRIGGER count_truncated ON dead_letters;
DROP TRIGGER count_deleted ON dead_letters;
DROP TRIGGER count_inserted ON dead_letters;
DROP FUNCTION count_dead_letters_v1;
DROP TABLE dead_letter_totals;
