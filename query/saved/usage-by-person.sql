-- title: Who runs agents, and what comes of it
-- about: Per person and agent: sessions, tool calls, findings of level HIGH or above, questions asked, freezes, and records known to be lost.
-- param: since time = 30d | Started from then on.
SELECT principal, agent, count(*) AS sessions, sum(tool_calls) AS tool_calls, count(*) FILTER (WHERE worst IN ('HIGH', 'CRITICAL')) AS alarming,
       sum(approvals_asked) AS asked, sum(freezes) AS freezes, sum(records_lost) AS records_lost, max(started) AS last
FROM sessions
WHERE started >= $since AND agent IS NOT NULL
GROUP BY principal, agent
ORDER BY sessions DESC, principal, agent
