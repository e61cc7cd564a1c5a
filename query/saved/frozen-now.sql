-- title: Which sessions stand frozen
-- about: Sessions whose newest state is frozen, the longest first, with why and what was noticed: somebody has to look at each.
-- param: since time = 30d | Started from then on.
SELECT s.session_id, s.principal, s.agent, s.host, s.task, s.worst, f.frozen_at, f.reason
FROM sessions s
JOIN (SELECT session_id, max(occurred_at) AS frozen_at, last_value(session_frozen['reason'] ORDER BY occurred_at) AS reason
      FROM records WHERE kind = 'session_frozen' GROUP BY session_id) f ON s.session_id = f.session_id
WHERE s.state = 'frozen' AND s.started >= $since
ORDER BY f.frozen_at, s.session_id
