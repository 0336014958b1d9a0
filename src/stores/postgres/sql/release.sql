-- release: the owner gives the key back; once it has committed, the record goes to in doubt.
-- Params  id, owner
-- Replies released | in-doubt | lease-lost | corrupt
CREATE OR REPLACE FUNCTION latchkey.release(p_id text, p_owner text)
RETURNS text LANGUAGE plpgsql AS $latchkey$
DECLARE
  r latchkey.records;
  now_ms bigint;
  standing text;
BEGIN
  SELECT * INTO r FROM latchkey.records WHERE id = p_id FOR UPDATE;
  now_ms := latchkey.now_ms();
  standing := latchkey.standing(r, p_owner, now_ms);
  IF standing = 'completed' THEN RETURN 'lease-lost'; END IF;
  IF standing IN ('lease-lost', 'corrupt', 'released') THEN RETURN standing; END IF;
  IF NOT r.committed THEN
    PERFORM latchkey.set_released(p_id);
    PERFORM latchkey.nudge(r, now_ms);
    RETURN 'released';
  END IF;
  IF standing = 'in-progress' THEN PERFORM latchkey.set_in_doubt(p_id, now_ms); END IF;
  RETURN 'in-doubt';
END
$latchkey$;
