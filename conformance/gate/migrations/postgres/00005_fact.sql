-- +goose Up
-- What those who deploy have said of an API, or of one instance of it.
CREATE TABLE gate_fact (
	api TEXT NOT NULL,
	url TEXT NOT NULL,
	kind TEXT NOT NULL,
	value TEXT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (api, url, kind)
);

-- +goose Down
DROP TABLE gate_fact;
