-- title: Which hosts were reached for the first time
-- about: Host names and addresses whose first connection in the whole lake is not older than a point in time, newest first, with the session that was first.
-- param: since time = 24h | First seen from then on.
SELECT coalesce(host_name, address) AS remote, min(time) AS first_seen, first_value(session_id ORDER BY time) AS session_id,
       first_value(image ORDER BY time) AS image, first_value(outcome ORDER BY time) AS outcome, sum(count) AS attempts
FROM connections
WHERE outcome <> 'HELD' AND coalesce(protocol, '') NOT IN ('unix', 'netlink')
GROUP BY coalesce(host_name, address)
HAVING min(time) >= $since
ORDER BY first_seen DESC, remote
