-- 0001: the tables. Nothing here is safe to change once released: add 0002 instead. Every statement
-- may run twice. In all files the schema is written `latchkey` and replaced by the configured one.
--
-- No index covers what a claim's life changes (state, lease, result), so that its updates stay in
-- the row's page (HOT), for which 40 % of each page is left free. Expiry is indexed by the minute:
-- a completion moves it by the length of its work, which rarely reaches the next minute.

-- One row a key. Times are ms of this server's clock; what a state does not need is NULL.
CREATE TABLE IF NOT EXISTS latchkey.records (
  fence bigint NOT NULL,
  claimed_at_ms bigint NOT NULL,
  expires_at_ms bigint NOT NULL,
  lease_ends_at_ms bigint,
  lease_ms bigint,
  retention_ms bigint,
  at_ms bigint,
  watched_until_ms bigint,
  attempt integer NOT NULL,
  expires_minute integer NOT NULL GENERATED ALWAYS AS ((expires_at_ms / 60000)::integer) STORED,
  layout smallint NOT NULL DEFAULT 1,
  committed boolean,
  takeover boolean,
  id text COLLATE "C" PRIMARY KEY,
  state text NOT NULL,
  owner text NOT NULL,
  fingerprint text NOT NULL,
  operation text NOT NULL,
  on_abandoned text,
  resolutions jsonb,
  step_names text[],
  step_results bytea[],
  result bytea
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX IF NOT EXISTS records_expiry ON latchkey.records (expires_minute);

-- What someone must look at: one row a record and reason, kept 30 days.
CREATE TABLE IF NOT EXISTS latchkey.notes (
  id text COLLATE "C" NOT NULL,
  reason text COLLATE "C" NOT NULL,
  operation text NOT NULL,
  at_ms bigint NOT NULL,
  PRIMARY KEY (id, reason)
);

-- One row a migration that has been applied; the greatest is the schema's version.
CREATE TABLE IF NOT EXISTS latchkey.migrations (
  version integer PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
