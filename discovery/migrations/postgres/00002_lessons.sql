-- +goose Up
-- what traffic has taught of an operation: names, types and counts
CREATE TABLE discovery_lesson (
	api TEXT NOT NULL,
	method TEXT NOT NULL,
	template TEXT NOT NULL,
	declared BOOLEAN NOT NULL,
	last_seen BIGINT NOT NULL,
	data BYTEA NOT NULL,
	PRIMARY KEY (api, method, template)
);

-- what people have said about templates
CREATE TABLE discovery_rule (
	id TEXT NOT NULL PRIMARY KEY,
	api TEXT NOT NULL,
	at BIGINT NOT NULL,
	data BYTEA NOT NULL
);

-- +goose Down
DROP TABLE discovery_rule;
DROP TABLE discovery_lesson;
