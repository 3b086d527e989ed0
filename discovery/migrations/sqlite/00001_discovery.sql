-- +goose Up
CREATE TABLE discovery_cursor (name TEXT PRIMARY KEY, seq BIGINT NOT NULL, at BIGINT NOT NULL);

-- kind: 0 learned, 1 candidate, 2 declared by a specification
CREATE TABLE discovery_template (
	api TEXT NOT NULL,
	method TEXT NOT NULL,
	template TEXT NOT NULL,
	kind INTEGER NOT NULL,
	last_seen BIGINT NOT NULL,
	data BLOB NOT NULL,
	PRIMARY KEY (api, method, template)
);

-- hashes of slugs that were folded, for each API
CREATE TABLE discovery_memory (api TEXT PRIMARY KEY, data BLOB NOT NULL);

-- +goose Down
DROP TABLE discovery_memory;
DROP TABLE discovery_template;
DROP TABLE discovery_cursor;
