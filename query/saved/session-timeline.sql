-- title: What happened in this session, in order
-- about: Every record of one session, one line each: plan, tool calls, processes, files, connections, findings, decisions.
-- param: session text | The session's id.
SELECT time, kind, who, what, outcome, mediation
FROM timeline
WHERE session_id = $session
ORDER BY time, topic, seq
