-- watch: asks whoever settles this record within the time given to say so by NOTIFY.
-- Params  id, for_ms
-- Replies watched | absent | unseen: a transaction does its work under this key right now
CREATE OR REPLACE FUNCTION latchkey.watch(p_id text, p_for_ms bigint) RETURNS text
LANGUAGE plpgsql AS $latchkey$
BEGIN
  -- A transaction that does its work holds its row to the end: who waited for that here would keep
  -- a connection as long, and a few of them all that a pool has. Its waiters poll.
  PERFORM FROM latchkey.records WHERE id = p_id FOR UPDATE SKIP LOCKED;
  IF NOT FOUND AND NOT latchkey.may_write(p_id, false) THEN RETURN 'unseen'; END IF;
  UPDATE latchkey.records SET watched_until_ms = latchkey.now_ms() + p_for_ms WHERE id = p_id;
  RETURN CASE WHEN FOUND THEN 'watched' ELSE 'absent' END;
END
$latchkey$;
