-- watch: asks whoever settles this record within the time given to say so by NOTIFY.
-- Params  id, for_ms
-- Replies watched | absent
CREATE OR REPLACE FUNCTION latchkey.watch(p_id text, p_for_ms bigint) RETURNS text
LANGUAGE plpgsql AS $latchkey$
BEGIN
  UPDATE latchkey.records SET watched_until_ms = latchkey.now_ms() + p_for_ms WHERE id = p_id;
  RETURN CASE WHEN FOUND THEN 'watched' ELSE 'absent' END;
END
$latchkey$;
