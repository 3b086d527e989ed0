-- +goose Up
-- how many operations there are of each kind, kept with every change
CREATE TABLE inventory_facet (
	api TEXT NOT NULL,
	method TEXT NOT NULL,
	declared INTEGER NOT NULL,
	tier INTEGER NOT NULL,
	n BIGINT NOT NULL,
	PRIMARY KEY (api, method, declared, tier)
) WITHOUT ROWID;
INSERT INTO inventory_facet SELECT api, method, declared, tier, COUNT(*) FROM inventory_operation GROUP BY api, method, declared, tier;

-- parts of text, by id of the operation
CREATE VIRTUAL TABLE inventory_text USING fts5(words, content='', contentless_delete=1, tokenize='trigram', detail='none');
INSERT INTO inventory_text (rowid, words) SELECT id, method || ' ' || template || ' ' || name FROM inventory_operation;

-- +goose StatementBegin
CREATE TRIGGER inventory_operation_new AFTER INSERT ON inventory_operation BEGIN
	INSERT INTO inventory_facet (api, method, declared, tier, n) VALUES (NEW.api, NEW.method, NEW.declared, NEW.tier, 1) ON CONFLICT (api, method, declared, tier) DO UPDATE SET n = n + 1;
	INSERT INTO inventory_text (rowid, words) VALUES (NEW.id, NEW.method || ' ' || NEW.template || ' ' || NEW.name);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER inventory_operation_gone AFTER DELETE ON inventory_operation BEGIN
	UPDATE inventory_facet SET n = n - 1 WHERE api = OLD.api AND method = OLD.method AND declared = OLD.declared AND tier = OLD.tier;
	DELETE FROM inventory_text WHERE rowid = OLD.id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER inventory_operation_moved AFTER UPDATE OF api, method, declared, tier ON inventory_operation
WHEN OLD.api <> NEW.api OR OLD.method <> NEW.method OR OLD.declared <> NEW.declared OR OLD.tier <> NEW.tier BEGIN
	UPDATE inventory_facet SET n = n - 1 WHERE api = OLD.api AND method = OLD.method AND declared = OLD.declared AND tier = OLD.tier;
	INSERT INTO inventory_facet (api, method, declared, tier, n) VALUES (NEW.api, NEW.method, NEW.declared, NEW.tier, 1) ON CONFLICT (api, method, declared, tier) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER inventory_operation_named AFTER UPDATE OF method, template, name ON inventory_operation
WHEN OLD.method <> NEW.method OR OLD.template <> NEW.template OR OLD.name <> NEW.name BEGIN
	DELETE FROM inventory_text WHERE rowid = OLD.id;
	INSERT INTO inventory_text (rowid, words) VALUES (NEW.id, NEW.method || ' ' || NEW.template || ' ' || NEW.name);
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER inventory_operation_named;
DROP TRIGGER inventory_operation_moved;
DROP TRIGGER inventory_operation_gone;
DROP TRIGGER inventory_operation_new;
DROP TABLE inventory_text;
DROP TABLE inventory_facet;
