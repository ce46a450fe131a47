DROP FUNCTION revoke_tokens_v1;
DROP TABLE token_revocations;
DROP FUNCTION bump_token_revocations_version;
DROP TABLE token_revocations_version;
