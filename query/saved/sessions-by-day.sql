-- title: Which sessions were there, day by day
-- about: One row per day and session of an agent: what it did on that day, how it stood by then, what was refused and what was noticed. Days are those of the log, UTC.
-- param: since time = 24h | From that day on.
SELECT day, session_id, principal, agent, host, first_at, last_at, state, tool_calls, processes, files, connections, denied, findings, worst
FROM daily_sessions
WHERE day >= CAST($since AS DATE) AND agent IS NOT NULL
ORDER BY day DESC, first_at, session_id
