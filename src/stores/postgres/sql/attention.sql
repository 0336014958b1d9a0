-- attention: the notes, in the order of their records' ids.
-- Params  limit, after_id and after_reason of the last note of the page before ('' at the start)
-- Replies [{id, reason, operation, atMs}]
CREATE OR REPLACE FUNCTION latchkey.attention(
  p_limit integer, p_after_id text, p_after_reason text
) RETURNS text LANGUAGE sql STABLE AS $latchkey$
  SELECT coalesce(json_agg(json_build_object(
    'id', page.id, 'reason', page.reason, 'operation', page.operation, 'atMs', page.at_ms
  ) ORDER BY page.id, page.reason), '[]')::text
  FROM (
    SELECT * FROM latchkey.notes WHERE (id, reason) > (p_after_id, p_after_reason)
    ORDER BY id, reason LIMIT p_limit
  ) AS page
$latchkey$;
