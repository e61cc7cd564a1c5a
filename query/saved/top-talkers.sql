-- title: Which hosts are reached most
-- about: Remote hosts by the number of attempts, with how many sessions reached for them and how many attempts were refused. Holds are not counted: what became of them is.
-- param: since time = 24h | From then on.
-- param: limit integer = 20 | How many hosts.
SELECT coalesce(host_name, address) AS remote, sum(count) AS attempts, count(DISTINCT session_id) AS sessions,
       coalesce(sum(count) FILTER (WHERE outcome = 'DENIED'), 0) AS denied, max(time) AS last
FROM connections
WHERE time >= $since AND outcome <> 'HELD' AND coalesce(protocol, '') NOT IN ('unix', 'netlink')
GROUP BY coalesce(host_name, address)
ORDER BY attempts DESC, remote
LIMIT $limit
