-- +goose Up
-- The contract of each API that its consumers rely on: that of the last test
-- that passed. at is in microseconds since 1970.
CREATE TABLE gate_baseline (
	api TEXT PRIMARY KEY,
	surface BYTEA NOT NULL,
	at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE gate_baseline;
