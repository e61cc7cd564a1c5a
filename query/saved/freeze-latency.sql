-- title: How long it takes from evidence to freeze
-- about: Every command to freeze: when the last record of its evidence happened, when the command was written, when the session stood still, and the parts of the way in microseconds. A freeze without an end was not carried out.
-- param: since time = 30d | Commanded from then on.
SELECT c.time AS commanded, c.session_id, c.reason, f.evidence_at, c.fact_at AS frozen_at,
       CAST(c.time AS BIGINT) - CAST(f.evidence_at AS BIGINT) AS notice_us,
       CAST(c.fact_at AS BIGINT) - CAST(c.time AS BIGINT) AS command_us, c.took_us AS freeze_us
FROM commands c
LEFT JOIN (
  SELECT g.session_id, g.time AS found, max(e.occurred_at) AS evidence_at
  FROM (SELECT session_id, time, unnest(evidence) AS record FROM findings WHERE step IN ('FREEZE', 'KILL')) g
  JOIN records e ON e.record_id = g.record
  GROUP BY g.session_id, g.time
) f ON f.session_id = c.session_id AND f.found <= c.time
WHERE c.instruction = 'FREEZE' AND c.time >= $since
  AND (f.found IS NULL OR NOT EXISTS (
    SELECT 1 FROM findings l WHERE l.session_id = c.session_id AND l.step IN ('FREEZE', 'KILL') AND l.time > f.found AND l.time <= c.time))
ORDER BY commanded, c.session_id
