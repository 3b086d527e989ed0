-- +goose Up
CREATE TABLE console_account (
	id           TEXT PRIMARY KEY,
	name         TEXT NOT NULL UNIQUE,
	role         TEXT NOT NULL,
	hash         TEXT NOT NULL,            -- PHC string; '' until the invitation is taken
	created      BIGINT NOT NULL,          -- times are microseconds since 1970
	changed      BIGINT NOT NULL DEFAULT 0, -- of the password
	signed_in    BIGINT NOT NULL DEFAULT 0,
	disabled     BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE console_invitation (
	account TEXT PRIMARY KEY,              -- '' makes the first administrator
	hash    BYTEA NOT NULL,                 -- SHA-256 of the token
	expires BIGINT NOT NULL
);
CREATE TABLE console_session (
	token   TEXT PRIMARY KEY,              -- hash of the cookie's value
	account TEXT NOT NULL,
	data    BYTEA NOT NULL,
	created BIGINT NOT NULL,
	seen    BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	client  TEXT NOT NULL,
	agent   TEXT NOT NULL
);
CREATE INDEX console_session_account ON console_session (account);
CREATE INDEX console_session_expires ON console_session (expires);
CREATE TABLE console_audit (
	seq     BIGINT PRIMARY KEY,
	at      BIGINT NOT NULL,
	account TEXT NOT NULL,
	name    TEXT NOT NULL,
	client  TEXT NOT NULL,
	action  TEXT NOT NULL,
	target  TEXT NOT NULL,
	outcome TEXT NOT NULL,
	detail  TEXT NOT NULL,
	mac     BYTEA NOT NULL
);
CREATE INDEX console_audit_at ON console_audit (at);
CREATE TABLE console_audit_head (
	id       BIGINT PRIMARY KEY,
	base_seq BIGINT NOT NULL,              -- the last entry that retention took
	base_mac BYTEA NOT NULL,
	seq      BIGINT NOT NULL,
	mac      BYTEA NOT NULL,
	seal     BYTEA NOT NULL                 -- keyed hash over the five above
);

-- +goose Down
DROP TABLE console_audit_head;
DROP TABLE console_audit;
DROP TABLE console_session;
DROP TABLE console_invitation;
DROP TABLE console_account;
