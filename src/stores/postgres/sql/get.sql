-- get: the record as a claim would find it.
-- Params  id
-- Replies answer: found {record, steps}, with the result in bytes | absent | corrupt
CREATE OR REPLACE FUNCTION latchkey.get(p_id text, OUT answer text, OUT bytes bytea)
LANGUAGE plpgsql STABLE AS $latchkey$
DECLARE
  r latchkey.records;
  now_ms bigint;
BEGIN
  SELECT * INTO r FROM latchkey.records WHERE id = p_id;
  now_ms := latchkey.now_ms();
  IF r.id IS NOT NULL AND NOT latchkey.is_sound(r) THEN
    answer := '{"kind":"corrupt"}';
  ELSIF r.id IS NULL OR now_ms >= r.expires_at_ms THEN
    answer := '{"kind":"absent"}';
  ELSE
    r := latchkey.seen(r, now_ms);
    bytes := r.result;
    answer := json_build_object('kind', 'found',
      'record', latchkey.record_json(r), 'steps', latchkey.steps_json(r));
  END IF;
END
$latchkey$;
