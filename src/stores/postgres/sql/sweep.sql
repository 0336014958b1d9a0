-- sweep: deletes one batch of records whose retention is over, and notes older than 30 days.
-- A row that somebody has locked is being claimed: it is skipped, and nobody is waited for.
-- Params  limit
-- Replies how many records were deleted
CREATE OR REPLACE FUNCTION latchkey.sweep(p_limit integer) RETURNS text
LANGUAGE plpgsql AS $latchkey$
DECLARE
  now_ms bigint := latchkey.now_ms();
  swept integer;
BEGIN
  DELETE FROM latchkey.records WHERE id = ANY (ARRAY(
    SELECT id FROM latchkey.records
    WHERE expires_minute <= now_ms / 60000 AND expires_at_ms <= now_ms
    ORDER BY expires_minute LIMIT p_limit FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS swept = ROW_COUNT;
  DELETE FROM latchkey.notes WHERE (id, reason) IN (
    SELECT id, reason FROM latchkey.notes WHERE at_ms <= now_ms - 2592000000
    LIMIT p_limit FOR UPDATE SKIP LOCKED
  );
  RETURN swept;
END
$latchkey$;
