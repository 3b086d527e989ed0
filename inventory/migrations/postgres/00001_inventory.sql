-- +goose Up
CREATE TABLE inventory_cursor (name TEXT PRIMARY KEY, seq BIGINT NOT NULL, at BIGINT NOT NULL);

-- up to which event of exchanges the sightings are counted, and the event of sightings that said so
CREATE TABLE inventory_source (name TEXT PRIMARY KEY, source BIGINT NOT NULL, seq BIGINT NOT NULL);

-- Times are microseconds since 1970, 0 = never. Flags are 0 and 1.
CREATE TABLE inventory_api (
	name TEXT PRIMARY KEY,
	configured INTEGER NOT NULL DEFAULT 0,
	hosts TEXT NOT NULL DEFAULT '[]',
	path TEXT NOT NULL DEFAULT '',
	team TEXT NOT NULL DEFAULT '',
	contact TEXT NOT NULL DEFAULT '',
	deputy TEXT NOT NULL DEFAULT '',
	department TEXT NOT NULL DEFAULT '',
	exposure TEXT NOT NULL DEFAULT '',
	declaration TEXT NOT NULL DEFAULT '',
	description TEXT NOT NULL DEFAULT '',
	requests BIGINT NOT NULL DEFAULT 0,
	refused BIGINT NOT NULL DEFAULT 0,
	status1 BIGINT NOT NULL DEFAULT 0,
	status2 BIGINT NOT NULL DEFAULT 0,
	status3 BIGINT NOT NULL DEFAULT 0,
	status4 BIGINT NOT NULL DEFAULT 0,
	status5 BIGINT NOT NULL DEFAULT 0,
	none BIGINT NOT NULL DEFAULT 0,
	request_bytes BIGINT NOT NULL DEFAULT 0,
	response_bytes BIGINT NOT NULL DEFAULT 0,
	tls BIGINT NOT NULL DEFAULT 0,
	anonymous BIGINT NOT NULL DEFAULT 0,
	first_seen BIGINT NOT NULL DEFAULT 0,
	last_seen BIGINT NOT NULL DEFAULT 0,
	principal_count BIGINT NOT NULL DEFAULT 0,
	principals BYTEA,
	latency BYTEA
);

CREATE TABLE inventory_operation (
	id BIGSERIAL PRIMARY KEY,
	api TEXT NOT NULL,
	method TEXT NOT NULL,
	template TEXT NOT NULL,
	name TEXT NOT NULL DEFAULT '',
	summary TEXT NOT NULL DEFAULT '',
	deprecated INTEGER NOT NULL DEFAULT 0,
	security TEXT NOT NULL DEFAULT '[]',
	statuses TEXT NOT NULL DEFAULT '[]',
	described INTEGER NOT NULL DEFAULT 0,
	declared INTEGER NOT NULL DEFAULT 0,
	declared_at BIGINT NOT NULL DEFAULT 0,
	undeclared_at BIGINT NOT NULL DEFAULT 0,
	tier INTEGER NOT NULL DEFAULT 0,
	requests BIGINT NOT NULL DEFAULT 0,
	refused BIGINT NOT NULL DEFAULT 0,
	status1 BIGINT NOT NULL DEFAULT 0,
	status2 BIGINT NOT NULL DEFAULT 0,
	status3 BIGINT NOT NULL DEFAULT 0,
	status4 BIGINT NOT NULL DEFAULT 0,
	status5 BIGINT NOT NULL DEFAULT 0,
	none BIGINT NOT NULL DEFAULT 0,
	errors BIGINT NOT NULL DEFAULT 0,
	request_bytes BIGINT NOT NULL DEFAULT 0,
	response_bytes BIGINT NOT NULL DEFAULT 0,
	tls BIGINT NOT NULL DEFAULT 0,
	anonymous BIGINT NOT NULL DEFAULT 0,
	answered BIGINT NOT NULL DEFAULT 0,
	days BIGINT NOT NULL DEFAULT 0,
	last_day BIGINT NOT NULL DEFAULT 0,
	first_seen BIGINT NOT NULL DEFAULT 0,
	last_seen BIGINT NOT NULL DEFAULT 0,
	p95 BIGINT NOT NULL DEFAULT 0,
	principal_count BIGINT NOT NULL DEFAULT 0,
	undocumented BIGINT NOT NULL DEFAULT 0,
	classes TEXT NOT NULL DEFAULT '',
	kinds TEXT NOT NULL DEFAULT '',
	reasons TEXT NOT NULL DEFAULT '[]',
	principals BYTEA,
	latency BYTEA
);
CREATE UNIQUE INDEX inventory_operation_key ON inventory_operation (api, template, method);
CREATE INDEX inventory_operation_last ON inventory_operation (last_seen, id);
CREATE INDEX inventory_operation_first ON inventory_operation (first_seen, id);
CREATE INDEX inventory_operation_requests ON inventory_operation (requests, id);
CREATE INDEX inventory_operation_errors ON inventory_operation (errors, id);
CREATE INDEX inventory_operation_p95 ON inventory_operation (p95, id);
CREATE INDEX inventory_operation_sum ON inventory_operation (declared, tier, api);
CREATE INDEX inventory_operation_undocumented ON inventory_operation (api) WHERE undocumented > 0;
CREATE INDEX inventory_operation_undeclared ON inventory_operation (api) WHERE undeclared_at > 0;

-- parameters and body places; n_* are how often a place held a type
CREATE TABLE inventory_place (
	operation BIGINT NOT NULL,
	response INTEGER NOT NULL,
	part TEXT NOT NULL,
	name TEXT NOT NULL,
	declared INTEGER NOT NULL DEFAULT 0,
	required INTEGER NOT NULL DEFAULT 0,
	type TEXT NOT NULL DEFAULT '',
	format TEXT NOT NULL DEFAULT '',
	undocumented INTEGER NOT NULL DEFAULT 0,
	seen_format TEXT NOT NULL DEFAULT '',
	count BIGINT NOT NULL DEFAULT 0,
	n_object BIGINT NOT NULL DEFAULT 0,
	n_array BIGINT NOT NULL DEFAULT 0,
	n_string BIGINT NOT NULL DEFAULT 0,
	n_integer BIGINT NOT NULL DEFAULT 0,
	n_number BIGINT NOT NULL DEFAULT 0,
	n_boolean BIGINT NOT NULL DEFAULT 0,
	n_null BIGINT NOT NULL DEFAULT 0,
	first_seen BIGINT NOT NULL DEFAULT 0,
	last_seen BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (operation, response, part, name)
);

CREATE TABLE inventory_status (
	operation BIGINT NOT NULL,
	code INTEGER NOT NULL,
	undocumented INTEGER NOT NULL DEFAULT 0,
	count BIGINT NOT NULL DEFAULT 0,
	first_seen BIGINT NOT NULL DEFAULT 0,
	last_seen BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (operation, code)
);

CREATE TABLE inventory_consumer (
	operation BIGINT NOT NULL,
	principal TEXT NOT NULL,
	count BIGINT NOT NULL DEFAULT 0,
	first_seen BIGINT NOT NULL DEFAULT 0,
	last_seen BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (operation, principal)
);

CREATE TABLE inventory_class (
	operation BIGINT NOT NULL,
	class TEXT NOT NULL,
	response INTEGER NOT NULL,
	part TEXT NOT NULL,
	name TEXT NOT NULL,
	count BIGINT NOT NULL DEFAULT 0,
	first_seen BIGINT NOT NULL DEFAULT 0,
	last_seen BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (operation, class, response, part, name)
);
CREATE INDEX inventory_class_class ON inventory_class (class, operation);

CREATE TABLE inventory_hour (
	operation BIGINT NOT NULL,
	hour BIGINT NOT NULL,
	requests BIGINT NOT NULL DEFAULT 0,
	refused BIGINT NOT NULL DEFAULT 0,
	errors BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (operation, hour)
);
CREATE INDEX inventory_hour_hour ON inventory_hour (hour);

CREATE TABLE inventory_change (
	id BIGSERIAL PRIMARY KEY,
	at BIGINT NOT NULL,
	api TEXT NOT NULL,
	op TEXT NOT NULL,
	kind TEXT NOT NULL,
	detail TEXT NOT NULL
);
CREATE INDEX inventory_change_api ON inventory_change (api, id);
CREATE INDEX inventory_change_op ON inventory_change (api, op, id);
CREATE INDEX inventory_change_at ON inventory_change (at);

-- +goose Down
DROP TABLE inventory_change;
DROP TABLE inventory_hour;
DROP TABLE inventory_class;
DROP TABLE inventory_consumer;
DROP TABLE inventory_status;
DROP TABLE inventory_place;
DROP TABLE inventory_operation;
DROP TABLE inventory_api;
DROP TABLE inventory_source;
DROP TABLE inventory_cursor;
