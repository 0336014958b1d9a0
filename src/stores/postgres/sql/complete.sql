-- complete: the owner records its result; a repeated call keeps the first one.
-- Params  id, owner, result, retention_ms
-- Replies recorded | lease-lost | corrupt
CREATE OR REPLACE FUNCTION latchkey.complete(
  p_id text, p_owner text, p_result bytea, p_retention_ms bigint
) RETURNS text LANGUAGE plpgsql AS $latchkey$
DECLARE
  r latchkey.records;
  now_ms bigint;
  standing text;
BEGIN
  SELECT * INTO r FROM latchkey.records WHERE id = p_id FOR UPDATE;
  now_ms := latchkey.now_ms();
  standing := latchkey.standing(r, p_owner, now_ms);
  IF standing = 'completed' THEN
    -- An operator's result is not the owner's own: it must learn that its own is not kept.
    IF r.resolutions -> -1 ->> 'outcome' IN ('completed', 'failed') THEN RETURN 'lease-lost'; END IF;
    RETURN 'recorded';
  END IF;
  IF standing = 'released' THEN RETURN 'lease-lost'; END IF;
  IF standing IN ('lease-lost', 'corrupt') THEN RETURN standing; END IF;
  -- A late owner heals its own doubt, and a lapsed lease that nobody took over is still its own.
  PERFORM latchkey.set_completed(p_id, p_result, p_retention_ms, now_ms);
  PERFORM latchkey.nudge(r, now_ms);
  RETURN 'recorded';
END
$latchkey$;
