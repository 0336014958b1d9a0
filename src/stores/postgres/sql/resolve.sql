-- resolve: an operator's word on a record in doubt, kept with the record.
-- Params  id, attempt, by, note, outcome (not-executed | completed | failed), result, retention_ms
--         (both NULL when it was not executed)
-- Replies resolved | not-in-doubt | corrupt
CREATE OR REPLACE FUNCTION latchkey.resolve(
  p_id text, p_attempt integer, p_by text, p_note text, p_outcome text,
  p_result bytea, p_retention_ms bigint
) RETURNS text LANGUAGE plpgsql AS $latchkey$
DECLARE
  r latchkey.records;
  now_ms bigint;
BEGIN
  SELECT * INTO r FROM latchkey.records WHERE id = p_id FOR UPDATE;
  now_ms := latchkey.now_ms();
  IF r.id IS NOT NULL AND NOT latchkey.is_sound(r) THEN RETURN 'corrupt'; END IF;
  IF r.id IS NULL OR now_ms >= r.expires_at_ms THEN RETURN 'not-in-doubt'; END IF;
  r := latchkey.seen(r, now_ms);
  IF r.state <> 'in-doubt' OR r.attempt <> p_attempt THEN RETURN 'not-in-doubt'; END IF;
  IF p_outcome = 'not-executed' THEN
    PERFORM latchkey.set_released(p_id);
  ELSE
    PERFORM latchkey.set_completed(p_id, p_result, p_retention_ms, now_ms);
  END IF;
  UPDATE latchkey.records SET resolutions = coalesce(resolutions, '[]') || jsonb_build_object(
    'outcome', p_outcome, 'by', p_by, 'note', p_note, 'atMs', now_ms
  ) WHERE id = p_id;
  PERFORM latchkey.nudge(r, now_ms);
  RETURN 'resolved';
END
$latchkey$;
