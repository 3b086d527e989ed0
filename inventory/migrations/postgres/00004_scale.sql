-- +goose Up
-- how many operations there are of each kind, kept with every change
CREATE TABLE inventory_facet (
	api TEXT NOT NULL,
	method TEXT NOT NULL,
	declared INTEGER NOT NULL,
	tier INTEGER NOT NULL,
	n BIGINT NOT NULL,
	PRIMARY KEY (api, method, declared, tier)
);
INSERT INTO inventory_facet SELECT api, method, declared, tier, COUNT(*) FROM inventory_operation GROUP BY api, method, declared, tier;

-- +goose StatementBegin
CREATE FUNCTION inventory_facet_new() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO inventory_facet AS x (api, method, declared, tier, n) SELECT api, method, declared, tier, COUNT(*) FROM rows_new GROUP BY api, method, declared, tier
		ON CONFLICT (api, method, declared, tier) DO UPDATE SET n = x.n + EXCLUDED.n;
	RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION inventory_facet_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE inventory_facet x SET n = x.n - g.n FROM (SELECT api, method, declared, tier, COUNT(*) AS n FROM rows_gone GROUP BY api, method, declared, tier) g
		WHERE x.api = g.api AND x.method = g.method AND x.declared = g.declared AND x.tier = g.tier;
	RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION inventory_facet_moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE inventory_facet SET n = n - 1 WHERE api = OLD.api AND method = OLD.method AND declared = OLD.declared AND tier = OLD.tier;
	INSERT INTO inventory_facet AS x (api, method, declared, tier, n) VALUES (NEW.api, NEW.method, NEW.declared, NEW.tier, 1) ON CONFLICT (api, method, declared, tier) DO UPDATE SET n = x.n + 1;
	RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER inventory_operation_new AFTER INSERT ON inventory_operation REFERENCING NEW TABLE AS rows_new FOR EACH STATEMENT EXECUTE FUNCTION inventory_facet_new();
CREATE TRIGGER inventory_operation_gone AFTER DELETE ON inventory_operation REFERENCING OLD TABLE AS rows_gone FOR EACH STATEMENT EXECUTE FUNCTION inventory_facet_gone();
CREATE TRIGGER inventory_operation_moved AFTER UPDATE OF api, method, declared, tier ON inventory_operation FOR EACH ROW
	WHEN (OLD.api <> NEW.api OR OLD.method <> NEW.method OR OLD.declared <> NEW.declared OR OLD.tier <> NEW.tier) EXECUTE FUNCTION inventory_facet_moved();

-- +goose Down
DROP TRIGGER inventory_operation_moved ON inventory_operation;
DROP TRIGGER inventory_operation_gone ON inventory_operation;
DROP TRIGGER inventory_operation_new ON inventory_operation;
DROP FUNCTION inventory_facet_moved();
DROP FUNCTION inventory_facet_gone();
DROP FUNCTION inventory_facet_new();
DROP TABLE inventory_facet;
