-- +goose Up
-- Times are microseconds since 1970, 0 = never.
CREATE TABLE incident (
	id TEXT PRIMARY KEY,
	subject_key TEXT NOT NULL, -- what makes a second failure join this one
	kind TEXT NOT NULL,
	api TEXT NOT NULL,
	subject TEXT NOT NULL,
	title TEXT NOT NULL,
	severity INTEGER NOT NULL,
	state TEXT NOT NULL,
	depth INTEGER NOT NULL,
	source TEXT NOT NULL, -- newest verdict or detection that it rests on
	assignee TEXT NOT NULL,
	team TEXT NOT NULL,
	contact TEXT NOT NULL,
	deputy TEXT NOT NULL,
	reproduction TEXT NOT NULL,
	difference TEXT NOT NULL,
	occurrences BIGINT NOT NULL,
	opened BIGINT NOT NULL,
	seen BIGINT NOT NULL,
	due BIGINT NOT NULL,
	closed BIGINT NOT NULL,
	escalated BIGINT NOT NULL,
	approver TEXT NOT NULL,
	reason TEXT NOT NULL,
	until BIGINT NOT NULL
);
CREATE UNIQUE INDEX incident_current ON incident (subject_key) WHERE state <> 'resolved';
CREATE INDEX incident_opened ON incident (opened, id);
CREATE INDEX incident_state ON incident (state, due);

CREATE TABLE incident_entry (
	seq BIGSERIAL PRIMARY KEY,
	incident TEXT NOT NULL,
	at BIGINT NOT NULL,
	who TEXT NOT NULL,
	what TEXT NOT NULL,
	text TEXT NOT NULL
);
CREATE INDEX incident_entry_of ON incident_entry (incident, seq);

CREATE TABLE incident_evidence (
	seq BIGSERIAL PRIMARY KEY,
	incident TEXT NOT NULL,
	at BIGINT NOT NULL,
	source TEXT NOT NULL,
	kind TEXT NOT NULL,
	title TEXT NOT NULL,
	body TEXT NOT NULL
);
CREATE INDEX incident_evidence_of ON incident_evidence (incident, seq);

-- what has been taken in: a verdict that is told twice counts once
CREATE TABLE incident_source (source TEXT PRIMARY KEY, incident TEXT NOT NULL, at BIGINT NOT NULL);

-- the newest passing test of each subject
CREATE TABLE incident_pass (subject_key TEXT NOT NULL, depth INTEGER NOT NULL, at BIGINT NOT NULL, proof TEXT NOT NULL, summary TEXT NOT NULL, PRIMARY KEY (subject_key, depth));

CREATE TABLE incident_delivery (
	seq BIGSERIAL PRIMARY KEY,
	incident TEXT NOT NULL,
	event TEXT NOT NULL,
	target TEXT NOT NULL,
	state TEXT NOT NULL, -- due, sent, failed
	attempts INTEGER NOT NULL,
	next BIGINT NOT NULL,
	at BIGINT NOT NULL,
	problem TEXT NOT NULL
);
CREATE INDEX incident_delivery_due ON incident_delivery (state, target, next);
CREATE INDEX incident_delivery_of ON incident_delivery (incident, seq);
