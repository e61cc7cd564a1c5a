-- title: Who reached for this host
-- about: Every attempt to reach a host, by its name or its address, let through or not.
-- param: host text | Host name or IP address.
-- param: since time = 30d | From then on.
-- param: until time = 0s | Up to then.
SELECT time, session_id, host, agent, image, operation, protocol, address, port, host_name, outcome, count, mediation
FROM connections
WHERE (host_name = $host OR address = $host) AND time >= $since AND time <= $until
ORDER BY time, session_id, outcome
