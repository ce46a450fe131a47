-- A single statement without a surrounding transaction: the procedure commits after each chunk.
CALL fill_statistics_v1();
