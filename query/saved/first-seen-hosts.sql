-- title: Which hosts were reached for the first time
-- about: Host names and addresses whose first connection in the whole lake is not older than a point in time, newest first, with the session that was first.
-- param: since time = 24h | First seen from then on.
SELECT value AS remote, min(first_at) AS first_seen, first_value(session_id ORDER BY first_at, record_id) AS session_id,
       first_value(image ORDER BY first_at, record_id) AS image, first_value(outcome ORDER BY first_at, record_id) AS outcome, sum(times) AS attempts
FROM daily_first_seen
WHERE kind = 'host'
GROUP BY value
HAVING min(first_at) >= $since
ORDER BY first_seen DESC, remote
