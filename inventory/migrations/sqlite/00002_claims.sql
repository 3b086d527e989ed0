-- +goose Up
-- '' = configured or seen; 'proposed', 'accepted', 'ignored'; 'merged' into another
ALTER TABLE inventory_api ADD COLUMN state TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_api ADD COLUMN merged_into TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_api ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_api ADD COLUMN known_at BIGINT NOT NULL DEFAULT 0;

-- how many claims speak of the operation: it stays while there are any
ALTER TABLE inventory_operation ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;

-- where an API is found besides what is configured; host with path, or address
CREATE TABLE inventory_location (
	host TEXT NOT NULL,
	path TEXT NOT NULL,
	address TEXT NOT NULL,
	api TEXT NOT NULL,
	origin TEXT NOT NULL,
	PRIMARY KEY (host, path, address)
);
CREATE INDEX inventory_location_api ON inventory_location (api);

-- one thing that one source says; item is the value where sources may say several.
-- origin is the API that it spoke of before that was merged into another.
-- power: 1 = claimed, 2 = confirmed by a person, 3 = declared in the configuration
CREATE TABLE inventory_claim (
	api TEXT NOT NULL,
	op TEXT NOT NULL,
	field TEXT NOT NULL,
	source TEXT NOT NULL,
	item TEXT NOT NULL,
	origin TEXT NOT NULL,
	value TEXT NOT NULL,
	power INTEGER NOT NULL,
	confidence DOUBLE PRECISION NOT NULL,
	evidence TEXT NOT NULL DEFAULT '',
	first_at BIGINT NOT NULL,
	at BIGINT NOT NULL,
	rejected_by TEXT NOT NULL DEFAULT '',
	rejected_at BIGINT NOT NULL DEFAULT 0,
	rejected_for TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (api, op, field, source, item, origin)
);

-- what follows from the claims
CREATE TABLE inventory_field (
	api TEXT NOT NULL,
	op TEXT NOT NULL,
	field TEXT NOT NULL,
	value TEXT NOT NULL,
	source TEXT NOT NULL,
	power INTEGER NOT NULL,
	confidence DOUBLE PRECISION NOT NULL,
	evidence TEXT NOT NULL DEFAULT '',
	conflict INTEGER NOT NULL DEFAULT 0,
	since BIGINT NOT NULL,
	PRIMARY KEY (api, op, field)
);
CREATE INDEX inventory_field_value ON inventory_field (field, value);

CREATE TABLE inventory_finding (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	mark TEXT NOT NULL UNIQUE,
	rule TEXT NOT NULL,
	source TEXT NOT NULL,
	api TEXT NOT NULL,
	op TEXT NOT NULL,
	origin TEXT NOT NULL,
	place TEXT NOT NULL,
	title TEXT NOT NULL,
	severity INTEGER NOT NULL,
	evidence TEXT NOT NULL,
	fix TEXT NOT NULL,
	refs TEXT NOT NULL,
	first_at BIGINT NOT NULL,
	at BIGINT NOT NULL,
	ended_at BIGINT NOT NULL DEFAULT 0,
	times BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX inventory_finding_api ON inventory_finding (api, ended_at, severity);
CREATE INDEX inventory_finding_open ON inventory_finding (ended_at, severity, id);

-- who changed a field, from what to what, and why
ALTER TABLE inventory_change ADD COLUMN field TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_change ADD COLUMN old TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_change ADD COLUMN new TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_change ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_change ADD COLUMN evidence TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE inventory_change DROP COLUMN field;
ALTER TABLE inventory_change DROP COLUMN old;
ALTER TABLE inventory_change DROP COLUMN new;
ALTER TABLE inventory_change DROP COLUMN source;
ALTER TABLE inventory_change DROP COLUMN evidence;
DROP TABLE inventory_finding;
DROP TABLE inventory_field;
DROP TABLE inventory_claim;
DROP TABLE inventory_location;
ALTER TABLE inventory_operation DROP COLUMN claimed;
ALTER TABLE inventory_api DROP COLUMN known_at;
ALTER TABLE inventory_api DROP COLUMN reason;
ALTER TABLE inventory_api DROP COLUMN merged_into;
ALTER TABLE inventory_api DROP COLUMN state;
