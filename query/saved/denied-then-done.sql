-- title: What was denied and then done all the same
-- about: A connection or file access that was refused, and a later one of the same session to the same place that was not: a way round, or an approval in between (then granted_by names who).
-- param: since time = 7d | From then on.
WITH tries AS (
  SELECT session_id, time, outcome, image, coalesce(host_name, address) AS place FROM connections WHERE outcome <> 'HELD' AND time >= $since
  UNION ALL
  SELECT session_id, time, outcome, image, path AS place FROM file_access WHERE time >= $since
), grants AS (
  SELECT session_id, answered, "by", coalesce(host_name, address, path) AS place FROM approvals WHERE state = 'GRANTED'
)
SELECT d.session_id, d.place, d.time AS denied_at, d.image AS denied_image, min(a.time) AS done_at,
       first_value(a.image ORDER BY a.time) AS done_image, max(g."by") AS granted_by
FROM tries d
JOIN tries a ON a.session_id = d.session_id AND a.place = d.place AND a.time > d.time AND a.outcome IN ('ALLOWED', 'SUCCEEDED')
LEFT JOIN grants g ON g.session_id = d.session_id AND g.place = d.place AND g.answered >= d.time AND g.answered <= a.time
WHERE d.outcome = 'DENIED'
GROUP BY d.session_id, d.place, d.time, d.image
ORDER BY denied_at, d.session_id, d.place
