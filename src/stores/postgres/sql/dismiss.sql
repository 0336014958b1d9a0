-- dismiss: takes the notes on a record off the list.
-- Params  id
-- Replies how many there were
CREATE OR REPLACE FUNCTION latchkey.dismiss(p_id text) RETURNS text
LANGUAGE sql VOLATILE AS $latchkey$
  WITH gone AS (DELETE FROM latchkey.notes WHERE id = p_id RETURNING id)
  SELECT count(*)::text FROM gone
$latchkey$;
