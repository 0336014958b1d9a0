-- forget: deletes a record whatever its state.
-- Params  id
-- Replies how many were deleted, 0 or 1
CREATE OR REPLACE FUNCTION latchkey.forget(p_id text) RETURNS text
LANGUAGE sql VOLATILE AS $latchkey$
  WITH gone AS (DELETE FROM latchkey.records WHERE id = p_id RETURNING id)
  SELECT count(*)::text FROM gone
$latchkey$;
