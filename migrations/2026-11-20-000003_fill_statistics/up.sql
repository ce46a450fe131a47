-- One statement and no transaction around it: it commits chunk by chunk.
CALL fill_statistics_v1();
