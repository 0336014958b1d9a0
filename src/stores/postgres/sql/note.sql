-- note: puts a record on the list of what somebody must look at; a later note replaces it.
-- Params  id, reason, operation
-- Replies noted
CREATE OR REPLACE FUNCTION latchkey.note(p_id text, p_reason text, p_operation text)
RETURNS text LANGUAGE sql VOLATILE AS $latchkey$
  INSERT INTO latchkey.notes (id, reason, operation, at_ms)
  VALUES (p_id, p_reason, p_operation, latchkey.now_ms())
  ON CONFLICT (id, reason) DO UPDATE SET operation = excluded.operation, at_ms = excluded.at_ms
  RETURNING 'noted'
$latchkey$;
