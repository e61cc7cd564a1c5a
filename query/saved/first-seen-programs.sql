-- title: Which programs ran for the first time
-- about: Programs whose first execution in the whole lake is not older than a point in time, newest first.
-- param: since time = 24h | First seen from then on.
SELECT value AS image, min(first_at) AS first_seen, first_value(session_id ORDER BY first_at, record_id) AS session_id,
       first_value(detail ORDER BY first_at, record_id) AS command_line, sum(records) AS runs
FROM daily_first_seen
WHERE kind = 'image'
GROUP BY value
HAVING min(first_at) >= $since
ORDER BY first_seen DESC, value
