-- +goose Up
CREATE TABLE pace (
	api       TEXT NOT NULL,
	operation TEXT NOT NULL,
	began     BIGINT NOT NULL, -- of the span it covers, seconds since 1970
	requests  BIGINT NOT NULL,
	most      BIGINT NOT NULL, -- of one caller in one minute
	sketch    BLOB NOT NULL,
	PRIMARY KEY (api, operation, began)
);
