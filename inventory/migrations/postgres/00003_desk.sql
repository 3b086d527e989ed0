-- +goose Up
-- kinds of credential seen, and requests from public addresses
ALTER TABLE inventory_api ADD COLUMN kinds TEXT NOT NULL DEFAULT '';
ALTER TABLE inventory_api ADD COLUMN public BIGINT NOT NULL DEFAULT 0;

-- what people changed, with what stood there before
CREATE TABLE inventory_edit (
	id BIGSERIAL PRIMARY KEY,
	at BIGINT NOT NULL,
	person TEXT NOT NULL,
	what TEXT NOT NULL,
	before TEXT NOT NULL,
	undone_at BIGINT NOT NULL DEFAULT 0,
	undone_by TEXT NOT NULL DEFAULT ''
);

CREATE TABLE inventory_view (
	name TEXT PRIMARY KEY,
	person TEXT NOT NULL,
	query TEXT NOT NULL,
	at BIGINT NOT NULL
);

-- weights of risk rules; the last row is in force, and until its end nobody changes it
CREATE TABLE inventory_weights (
	at BIGINT PRIMARY KEY,
	person TEXT NOT NULL,
	weights TEXT NOT NULL,
	period TEXT NOT NULL,
	until BIGINT NOT NULL
);

CREATE INDEX inventory_change_field ON inventory_change (api, op, field, id);
CREATE INDEX inventory_claim_origin ON inventory_claim (origin, source);

-- +goose Down
DROP INDEX inventory_claim_origin;
DROP INDEX inventory_change_field;
DROP TABLE inventory_weights;
DROP TABLE inventory_view;
DROP TABLE inventory_edit;
ALTER TABLE inventory_api DROP COLUMN public;
ALTER TABLE inventory_api DROP COLUMN kinds;
