-- +goose Up
CREATE TABLE original (
	id     TEXT PRIMARY KEY, -- of the request
	at     BIGINT NOT NULL,  -- microseconds since 1970
	api    TEXT NOT NULL,
	size   INTEGER NOT NULL,
	sealed BLOB NOT NULL
);
CREATE INDEX original_at ON original (at, size);
