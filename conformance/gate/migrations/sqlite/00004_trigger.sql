-- +goose Up
-- What has started a test or changed a door by hand, and what followed. Times
-- are microseconds since 1970, 0 = not yet.
CREATE TABLE gate_trigger (
	id TEXT PRIMARY KEY,
	api TEXT NOT NULL,
	url TEXT NOT NULL,
	at BIGINT NOT NULL,
	what TEXT NOT NULL,
	who TEXT NOT NULL,
	detail TEXT NOT NULL,
	outcome TEXT NOT NULL,
	verdict TEXT NOT NULL,
	ended BIGINT NOT NULL
);
CREATE INDEX gate_trigger_at ON gate_trigger (at);
CREATE INDEX gate_trigger_instance ON gate_trigger (api, url, at);

-- +goose Down
DROP TABLE gate_trigger;
