-- title: What was done that no tool call explains
-- about: Programs, files that were changed, and connections of processes that descend from no tool call: the difference between what the agent said and what happened.
-- param: since time = 24h | From then on.
-- param: limit integer = 200 | How many rows.
SELECT time, session_id, kind, who, what, outcome
FROM timeline
WHERE mediation = 'NONE' AND time >= $since AND kind IN ('process_started', 'file_accessed', 'connection_attempted', 'approval_requested')
ORDER BY time DESC, session_id, seq
LIMIT $limit
