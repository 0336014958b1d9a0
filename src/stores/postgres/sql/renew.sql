-- renew: the owner is alive; its lease counts from now.
-- Params  id, owner, lease_ms
-- Replies renewed | lease-lost | corrupt
CREATE OR REPLACE FUNCTION latchkey.renew(p_id text, p_owner text, p_lease_ms bigint)
RETURNS text LANGUAGE plpgsql AS $latchkey$
DECLARE
  r latchkey.records;
  now_ms bigint;
  standing text;
BEGIN
  SELECT * INTO r FROM latchkey.records WHERE id = p_id FOR UPDATE;
  now_ms := latchkey.now_ms();
  standing := latchkey.standing(r, p_owner, now_ms);
  IF standing = 'corrupt' THEN RETURN standing; END IF;
  IF standing <> 'in-progress' THEN RETURN 'lease-lost'; END IF;
  UPDATE latchkey.records SET
    lease_ms = p_lease_ms, lease_ends_at_ms = now_ms + p_lease_ms,
    expires_at_ms = greatest(expires_at_ms, now_ms + p_lease_ms)
  WHERE id = p_id;
  RETURN 'renewed';
END
$latchkey$;
