-- +goose Up
-- Times are microseconds since 1970.
CREATE TABLE attest_verdict (
	id TEXT PRIMARY KEY,
	api TEXT NOT NULL,
	image TEXT NOT NULL, -- sha256:…
	tested BIGINT NOT NULL,
	signed BIGINT NOT NULL,
	reporter TEXT NOT NULL,
	envelope BLOB NOT NULL, -- what counts: all that is judged by is read from it
	report BLOB NOT NULL -- gzip
);
CREATE INDEX attest_verdict_image ON attest_verdict (api, image, tested);
CREATE INDEX attest_verdict_signed ON attest_verdict (signed);

-- +goose Down
DROP TABLE attest_verdict;
