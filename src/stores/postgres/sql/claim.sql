-- claim: the first owner gets the record, everybody else learns its state. One atomic step.
-- Params  id, owner, fingerprint, operation, lease_ms, retention_ms, on_abandoned,
--         within: the caller's transaction does the work, too, and its end is that of the claim
-- Replies answer: claimed {fence, attempt, takeover, steps}
--         | in-progress {retryAfterMs, runningForMs}
--         | completed {completedAtMs, expiresInMs} with the result in bytes | mismatch
--         | in-doubt {operation} | corrupt
CREATE OR REPLACE FUNCTION latchkey.claim(
  p_id text, p_owner text, p_fingerprint text, p_operation text,
  p_lease_ms bigint, p_retention_ms bigint, p_on_abandoned text, p_within boolean,
  OUT answer text, OUT bytes bytea
) LANGUAGE plpgsql AS $latchkey$
DECLARE
  r latchkey.records;
  now_ms bigint;
  last_fence bigint;
  live boolean;
  locked boolean := false;
BEGIN
  LOOP
    -- The first look takes no lock: what needs no write (a replay, a conflict) costs no commit.
    -- Whatever writes looks again with the row locked, and judges what it sees there.
    IF locked THEN
      SELECT * INTO r FROM latchkey.records WHERE id = p_id FOR UPDATE;
    ELSE
      SELECT * INTO r FROM latchkey.records WHERE id = p_id;
    END IF;
    now_ms := latchkey.now_ms();
    IF r.id IS NOT NULL AND NOT latchkey.is_sound(r) THEN
      answer := '{"kind":"corrupt"}';
      RETURN;
    END IF;
    last_fence := coalesce(r.fence, 0);
    live := coalesce(now_ms < r.expires_at_ms, false);
    -- The order of the questions is the contract: retention, fingerprint, state, lease.
    IF live THEN
      IF r.fingerprint <> p_fingerprint THEN
        answer := '{"kind":"mismatch"}';
        RETURN;
      ELSIF r.state = 'completed' THEN
        answer := json_build_object('kind', 'completed',
          'completedAtMs', r.at_ms, 'expiresInMs', r.expires_at_ms - now_ms);
        bytes := r.result;
        RETURN;
      ELSIF r.state = 'in-doubt' THEN
        answer := json_build_object('kind', 'in-doubt', 'operation', r.operation);
        RETURN;
      ELSIF r.state = 'in-progress' AND r.owner <> p_owner AND now_ms < r.lease_ends_at_ms THEN
        -- A deadline further away than its own lease: the clock jumped back, count from now.
        IF locked AND r.lease_ends_at_ms > now_ms + r.lease_ms THEN
          UPDATE latchkey.records SET lease_ends_at_ms = now_ms + lease_ms WHERE id = p_id
          RETURNING lease_ends_at_ms INTO r.lease_ends_at_ms;
        END IF;
        IF r.lease_ends_at_ms <= now_ms + r.lease_ms THEN
          answer := json_build_object('kind', 'in-progress',
            'retryAfterMs', r.lease_ends_at_ms - now_ms,
            'runningForMs', greatest(0, now_ms - r.claimed_at_ms));
          RETURN;
        END IF;
      END IF;
    END IF;
    -- Whoever works within its transaction holds the exclusive lock to the end; its row is nowhere
    -- to be seen yet, and an INSERT or a row lock would wait for that end. So nobody waits for it.
    IF NOT latchkey.may_write(p_id, p_within) THEN
      answer := '{"kind":"in-progress","retryAfterMs":1000,"runningForMs":0}';
      RETURN;
    END IF;
    IF r.id IS NOT NULL AND NOT locked THEN
      locked := true;
      CONTINUE;
    END IF;
    IF live AND r.state = 'in-progress' THEN
      IF r.owner = p_owner THEN
        -- The owner lost the reply to its claim and asks again: it must not lock itself out.
        UPDATE latchkey.records SET
          lease_ms = p_lease_ms, lease_ends_at_ms = now_ms + p_lease_ms,
          expires_at_ms = greatest(expires_at_ms, now_ms + p_lease_ms)
        WHERE id = p_id;
        EXIT;
      ELSIF r.committed OR r.on_abandoned = 'in-doubt' THEN
        PERFORM latchkey.set_in_doubt(p_id, now_ms);
        answer := json_build_object('kind', 'in-doubt', 'operation', r.operation);
        RETURN;
      END IF;
    END IF;
    -- The grant: of an absent row, of one whose retention is over, or of a free one.
    r.takeover := live AND r.state = 'in-progress';
    r.attempt := CASE WHEN live THEN r.attempt ELSE 0 END + 1;
    r.fence := greatest(last_fence + 1, now_ms * 1000);
    INSERT INTO latchkey.records AS stored (
      id, state, fingerprint, operation, fence, attempt, owner, claimed_at_ms, expires_at_ms,
      lease_ends_at_ms, lease_ms, retention_ms, on_abandoned, committed, takeover
    ) VALUES (
      p_id, 'in-progress', p_fingerprint, p_operation, r.fence, r.attempt, p_owner, now_ms,
      now_ms + greatest(p_retention_ms, p_lease_ms), now_ms + p_lease_ms, p_lease_ms,
      p_retention_ms, p_on_abandoned, false, r.takeover
    ) ON CONFLICT (id) DO UPDATE SET
      state = excluded.state, fingerprint = excluded.fingerprint, operation = excluded.operation,
      fence = excluded.fence, attempt = excluded.attempt, owner = excluded.owner,
      claimed_at_ms = excluded.claimed_at_ms, expires_at_ms = excluded.expires_at_ms,
      lease_ends_at_ms = excluded.lease_ends_at_ms, lease_ms = excluded.lease_ms,
      retention_ms = excluded.retention_ms, on_abandoned = excluded.on_abandoned,
      committed = false, takeover = excluded.takeover, at_ms = NULL, result = NULL,
      step_names = CASE WHEN live THEN stored.step_names END,
      step_results = CASE WHEN live THEN stored.step_results END,
      resolutions = CASE WHEN live THEN stored.resolutions END
    WHERE r.id IS NOT NULL; -- else it came meanwhile, and nobody has judged it
    EXIT WHEN FOUND;
    locked := true;
  END LOOP;
  answer := json_build_object('kind', 'claimed', 'fence', r.fence, 'attempt', r.attempt,
    'takeover', r.takeover, 'steps', CASE WHEN live THEN latchkey.steps_json(r) ELSE '{}' END);
END
$latchkey$;
