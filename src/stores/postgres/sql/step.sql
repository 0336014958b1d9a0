-- step: a part of the owner's work is done; the first result of a name stands.
-- Params  id, owner, name, result
-- Replies recorded | lease-lost | corrupt
CREATE OR REPLACE FUNCTION latchkey.step(p_id text, p_owner text, p_name text, p_result bytea)
RETURNS text LANGUAGE plpgsql AS $latchkey$
DECLARE
  r latchkey.records;
  standing text;
BEGIN
  SELECT * INTO r FROM latchkey.records WHERE id = p_id FOR UPDATE;
  standing := latchkey.standing(r, p_owner, latchkey.now_ms());
  IF standing = 'corrupt' THEN RETURN standing; END IF;
  IF standing <> 'in-progress' THEN RETURN 'lease-lost'; END IF;
  IF p_name = ANY (r.step_names) THEN RETURN 'recorded'; END IF;
  UPDATE latchkey.records SET
    step_names = array_append(step_names, p_name),
    step_results = array_append(step_results, p_result)
  WHERE id = p_id;
  RETURN 'recorded';
END
$latchkey$;
