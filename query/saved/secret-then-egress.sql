-- title: Who read a credential and then reached for the network
-- about: Sessions in which a credential file was read and a remote host was reached for shortly afterwards, nearest first.
-- param: since time = 7d | From then on.
-- param: within span = 10m | So soon after the read.
SELECT r.session_id, r.path, r.time AS read_at, r.image AS reader, c.time AS reached_at, coalesce(c.host_name, c.address) AS remote, c.outcome
FROM file_access r
JOIN connections c ON c.session_id = r.session_id AND c.time >= r.time AND c.time <= r.time + $within
WHERE r.operation = 'READ' AND r.time >= $since AND r.outcome IN ('ALLOWED', 'SUCCEEDED') AND (
  r.path LIKE '%/.ssh/id_%' OR r.path LIKE '%/.aws/credentials' OR r.path LIKE '%/.netrc' OR r.path LIKE '%/.npmrc' OR r.path LIKE '%/.env'
  OR r.path LIKE '%/.kube/config' OR r.path LIKE '%/.git-credentials' OR r.path LIKE '%.pem')
  AND coalesce(c.protocol, '') NOT IN ('unix', 'netlink')
ORDER BY c.time - r.time, r.session_id, c.outcome
