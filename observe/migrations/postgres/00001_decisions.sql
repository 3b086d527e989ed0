-- +goose Up
CREATE TABLE decision (
	id        TEXT COLLATE "C" PRIMARY KEY, -- sorts as bytes, as ids do
	at        BIGINT NOT NULL, -- microseconds since 1970
	api       TEXT NOT NULL,
	operation TEXT NOT NULL,
	action    TEXT NOT NULL,
	stages    TEXT NOT NULL,   -- ' identify validate '
	rules     TEXT NOT NULL,   -- ' schema.type sqli.tautology '
	principal TEXT NOT NULL,
	client    TEXT NOT NULL,
	status    INTEGER NOT NULL,
	plain     INTEGER NOT NULL, -- 1: an allow without reasons
	size      INTEGER NOT NULL,
	event     BYTEA NOT NULL   -- the exchange as an event of one
);
CREATE INDEX decision_at ON decision (at, size); -- both for removing the oldest
CREATE INDEX decision_api ON decision (api, id);
CREATE INDEX decision_principal ON decision (principal, id);
CREATE INDEX decision_client ON decision (client, id);
CREATE TABLE decision_cursor (name TEXT PRIMARY KEY, seq BIGINT NOT NULL, at BIGINT NOT NULL);
