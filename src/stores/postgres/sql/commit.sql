-- commit: the owner is about to pass its point of no return; nobody else may ever run this.
-- Params  id, owner
-- Replies committed | lease-lost | corrupt
CREATE OR REPLACE FUNCTION latchkey.commit(p_id text, p_owner text)
RETURNS text LANGUAGE plpgsql AS $latchkey$
DECLARE
  r latchkey.records;
  standing text;
BEGIN
  SELECT * INTO r FROM latchkey.records WHERE id = p_id FOR UPDATE;
  standing := latchkey.standing(r, p_owner, latchkey.now_ms());
  IF standing = 'corrupt' THEN RETURN standing; END IF;
  IF standing <> 'in-progress' THEN RETURN 'lease-lost'; END IF;
  UPDATE latchkey.records SET committed = true WHERE id = p_id;
  RETURN 'committed';
END
$latchkey$;
