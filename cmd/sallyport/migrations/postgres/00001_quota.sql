-- +goose Up
CREATE TABLE quota (
	node    TEXT NOT NULL,   -- whose count it is
	name    TEXT NOT NULL,   -- of the limit
	subject TEXT NOT NULL,
	client  TEXT NOT NULL,   -- address, where that is counted by
	until   BIGINT NOT NULL, -- end of the day or month, seconds since 1970
	used    BIGINT NOT NULL,
	PRIMARY KEY (node, name, subject, client)
);
CREATE INDEX quota_until ON quota (until);
