-- title: Which paths were touched for the first time
-- about: Paths whose first access in the whole lake is not older than a point in time, newest first, with who it was; the second path of a rename or a link counts, too.
-- param: path text = % | Only paths like this pattern: /etc/%.
-- param: since time = 24h | First seen from then on.
SELECT value AS path, min(first_at) AS first_seen, first_value(session_id ORDER BY first_at, record_id) AS session_id,
       first_value(principal ORDER BY first_at, record_id) AS principal, first_value(image ORDER BY first_at, record_id) AS image,
       first_value(detail ORDER BY first_at, record_id) AS operation, first_value(outcome ORDER BY first_at, record_id) AS outcome, sum(times) AS times
FROM daily_first_seen
WHERE kind = 'path' AND value LIKE $path
GROUP BY value
HAVING min(first_at) >= $since
ORDER BY first_seen DESC, value
