-- What the commands share: the clock, the judgement of a row, and the ways a record changes state.
-- machine/transition.ts is the table these restate.

-- now_ms: the one place where the clock is read; not the transaction's start, which may be old.
CREATE OR REPLACE FUNCTION latchkey.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $latchkey$
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$latchkey$;

-- is_sound: every field that its state needs is there; what cannot be read is locked, never free.
-- Params  the row
CREATE OR REPLACE FUNCTION latchkey.is_sound(r latchkey.records) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $latchkey$
  SELECT r.layout = 1
    AND coalesce(cardinality(r.step_names), 0) = coalesce(cardinality(r.step_results), 0)
    AND CASE r.state
      WHEN 'in-progress' THEN
        num_nulls(r.lease_ends_at_ms, r.lease_ms, r.retention_ms, r.committed, r.takeover) = 0
        AND coalesce(r.on_abandoned IN ('takeover', 'in-doubt'), false)
      WHEN 'completed' THEN num_nulls(r.at_ms, r.result) = 0
      WHEN 'released' THEN true
      WHEN 'in-doubt' THEN num_nulls(r.at_ms, r.committed) = 0
      ELSE false
    END
$latchkey$;

-- standing: how an owner stands to a row at an instant.
-- Params  the row, owner, now_ms
-- Replies the row's state, if the owner holds it | lease-lost | corrupt
CREATE OR REPLACE FUNCTION latchkey.standing(r latchkey.records, p_owner text, now_ms bigint)
RETURNS text LANGUAGE sql IMMUTABLE AS $latchkey$
  SELECT CASE
    WHEN r.id IS NULL THEN 'lease-lost'
    WHEN NOT latchkey.is_sound(r) THEN 'corrupt'
    WHEN now_ms >= r.expires_at_ms OR r.owner <> p_owner THEN 'lease-lost'
    ELSE r.state
  END
$latchkey$;

-- set_completed: the result is there, and answers until its retention ends.
-- Params  id, result, retention_ms, now_ms. The caller holds the row's lock.
CREATE OR REPLACE FUNCTION latchkey.set_completed(
  p_id text, p_result bytea, p_retention_ms bigint, now_ms bigint
) RETURNS void LANGUAGE sql VOLATILE AS $latchkey$
  UPDATE latchkey.records SET
    state = 'completed', result = p_result, at_ms = now_ms, expires_at_ms = now_ms + p_retention_ms,
    lease_ends_at_ms = NULL, lease_ms = NULL, retention_ms = NULL, on_abandoned = NULL,
    committed = NULL, takeover = NULL, step_names = NULL, step_results = NULL
  WHERE id = p_id
$latchkey$;

-- set_released: nobody is at work, and whoever comes with the same fingerprint may be.
-- Params  id. The caller holds the row's lock.
CREATE OR REPLACE FUNCTION latchkey.set_released(p_id text) RETURNS void
LANGUAGE sql VOLATILE AS $latchkey$
  UPDATE latchkey.records SET
    state = 'released', at_ms = NULL, lease_ends_at_ms = NULL, lease_ms = NULL,
    retention_ms = NULL, on_abandoned = NULL, committed = NULL, takeover = NULL
  WHERE id = p_id
$latchkey$;

-- set_in_doubt: whether the work happened is unknown.
-- Params  id, now_ms. The caller holds the row's lock, and the row is in progress.
CREATE OR REPLACE FUNCTION latchkey.set_in_doubt(p_id text, now_ms bigint) RETURNS void
LANGUAGE sql VOLATILE AS $latchkey$
  UPDATE latchkey.records SET
    state = 'in-doubt', at_ms = now_ms,
    expires_at_ms = greatest(expires_at_ms, now_ms + retention_ms),
    lease_ends_at_ms = NULL, lease_ms = NULL, retention_ms = NULL, on_abandoned = NULL,
    takeover = NULL
  WHERE id = p_id
$latchkey$;

-- seen: a row as a claim would find it: in doubt where a lease has ended that nobody may take over.
-- Params  the row, now_ms
CREATE OR REPLACE FUNCTION latchkey.seen(r latchkey.records, now_ms bigint)
RETURNS latchkey.records LANGUAGE plpgsql IMMUTABLE AS $latchkey$
BEGIN
  IF r.state = 'in-progress' AND now_ms >= r.lease_ends_at_ms
    AND (r.committed OR r.on_abandoned = 'in-doubt')
  THEN
    r.state := 'in-doubt';
    r.at_ms := r.lease_ends_at_ms;
    r.lease_ends_at_ms := NULL;
    r.lease_ms := NULL;
    r.retention_ms := NULL;
    r.on_abandoned := NULL;
    r.takeover := NULL;
  END IF;
  RETURN r;
END
$latchkey$;

-- nudge: wakes who waits for this record, now that it is completed or released. NOTIFY makes
-- commits queue up, so only when somebody does.
-- Params  the row as it was, now_ms
CREATE OR REPLACE FUNCTION latchkey.nudge(r latchkey.records, now_ms bigint) RETURNS void
LANGUAGE plpgsql AS $latchkey$
BEGIN
  IF now_ms < r.watched_until_ms THEN PERFORM pg_notify('latchkey_nudge', r.id); END IF;
END
$latchkey$;

-- steps_json: finished steps by name, their bytes in base64.
-- Params  the row
CREATE OR REPLACE FUNCTION latchkey.steps_json(r latchkey.records) RETURNS json
LANGUAGE sql STABLE AS $latchkey$
  SELECT coalesce(json_object_agg(step.name, encode(step.result, 'base64')), '{}')
  FROM unnest(r.step_names, r.step_results) AS step (name, result)
$latchkey$;

-- record_json: a row as the machine's record, without result and steps; NULL where it is not sound.
-- Params  the row
CREATE OR REPLACE FUNCTION latchkey.record_json(r latchkey.records) RETURNS json
LANGUAGE sql STABLE AS $latchkey$
  SELECT json_strip_nulls(json_build_object(
    'state', r.state, 'fingerprint', r.fingerprint, 'operation', r.operation,
    'fence', r.fence, 'attempt', r.attempt, 'owner', r.owner,
    'claimedAtMs', r.claimed_at_ms, 'expiresAtMs', r.expires_at_ms,
    'leaseEndsAtMs', r.lease_ends_at_ms, 'leaseMs', r.lease_ms, 'retentionMs', r.retention_ms,
    'onAbandoned', r.on_abandoned, 'committed', r.committed, 'takeover', r.takeover,
    'completedAtMs', CASE r.state WHEN 'completed' THEN r.at_ms END,
    'doubtedAtMs', CASE r.state WHEN 'in-doubt' THEN r.at_ms END,
    'resolutions', r.resolutions
  ))
  WHERE latchkey.is_sound(r)
$latchkey$;

-- may_write: whether no other transaction does its work under this key right now. Claims that stand
-- for themselves share the lock, so that they only meet in the row. It ends with the transaction.
-- Params  id, within: this transaction does its work
CREATE OR REPLACE FUNCTION latchkey.may_write(p_id text, p_within boolean) RETURNS boolean
LANGUAGE sql VOLATILE AS $latchkey$
  SELECT CASE
    WHEN p_within THEN pg_try_advisory_xact_lock(hashtextextended('latchkey:' || p_id, 0))
    ELSE pg_try_advisory_xact_lock_shared(hashtextextended('latchkey:' || p_id, 0))
  END
$latchkey$;
