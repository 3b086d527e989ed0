-- +goose Up
-- Times are microseconds since 1970, 0 = never.
CREATE TABLE gate_instance (
	api TEXT NOT NULL,
	url TEXT NOT NULL,
	state TEXT NOT NULL,
	reason TEXT NOT NULL,
	boot TEXT NOT NULL DEFAULT '',
	contract TEXT NOT NULL DEFAULT '',
	verdict TEXT NOT NULL DEFAULT '',
	by_hand TEXT NOT NULL DEFAULT '',
	failures INTEGER NOT NULL DEFAULT 0,
	claimed_by TEXT NOT NULL DEFAULT '',
	claimed_until BIGINT NOT NULL DEFAULT 0,
	tested BIGINT NOT NULL DEFAULT 0,
	changed BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (api, url)
);

CREATE TABLE gate_verdict (
	id TEXT PRIMARY KEY,
	api TEXT NOT NULL,
	url TEXT NOT NULL,
	boot TEXT NOT NULL,
	contract TEXT NOT NULL,
	profile TEXT NOT NULL,
	triggered TEXT NOT NULL,
	passed BOOLEAN NOT NULL,
	summary TEXT NOT NULL,
	began BIGINT NOT NULL,
	ended BIGINT NOT NULL,
	report BLOB
);
CREATE INDEX gate_verdict_instance ON gate_verdict (api, url, began);
CREATE INDEX gate_verdict_began ON gate_verdict (began);

-- +goose Down
DROP TABLE gate_verdict;
DROP TABLE gate_instance;
