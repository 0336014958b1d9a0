-- list: records as claims would find them, in the order of their ids, for operators. A page reads
-- at most 5000 rows of the primary key, because an index on the state would cost every claim; so it
-- may be short, or empty.
-- Params  state (NULL: any), limit, after (NULL: from the start)
-- Replies {found: [{id, record}], next}; a record that cannot be read is null
CREATE OR REPLACE FUNCTION latchkey.list(p_state text, p_limit integer, p_after text)
RETURNS text LANGUAGE plpgsql STABLE AS $latchkey$
DECLARE
  r latchkey.records;
  now_ms bigint := latchkey.now_ms();
  rows_read integer := 0;
  found json[] := '{}';
BEGIN
  FOR r IN
    SELECT * FROM latchkey.records WHERE id > coalesce(p_after, '') ORDER BY id LIMIT 5000
  LOOP
    rows_read := rows_read + 1;
    r := latchkey.seen(r, now_ms);
    IF now_ms < r.expires_at_ms AND r.state = coalesce(p_state, r.state) THEN
      found := found || json_build_object('id', r.id, 'record', latchkey.record_json(r));
    END IF;
    EXIT WHEN cardinality(found) = p_limit;
  END LOOP;
  RETURN json_build_object('found', array_to_json(found), 'next',
    CASE WHEN rows_read = 5000 OR cardinality(found) = p_limit THEN r.id END);
END
$latchkey$;
