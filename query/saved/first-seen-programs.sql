-- title: Which programs ran for the first time
-- about: Programs whose first execution in the whole lake is not older than a point in time, newest first.
-- param: since time = 24h | First seen from then on.
SELECT image, min(time) AS first_seen, first_value(session_id ORDER BY time) AS session_id,
       first_value(command_line ORDER BY time) AS command_line, count(*) AS runs
FROM processes
GROUP BY image
HAVING min(time) >= $since
ORDER BY first_seen DESC, image
