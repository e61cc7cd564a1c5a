-- title: Which tool calls failed, were denied or never returned
-- about: Tool calls whose answer was a failure, that the shim denied, or that have no answer in the lake.
-- param: since time = 24h | From then on.
-- param: limit integer = 200 | How many rows.
SELECT time, session_id, agent, tool, coalesce(command, arguments) AS what,
       CASE WHEN decision = 'denied' THEN 'denied' WHEN returned IS NULL THEN 'no answer' ELSE 'failed' END AS state, coalesce(reason, output) AS said
FROM tool_calls
WHERE time >= $since AND (decision = 'denied' OR returned IS NULL OR success = FALSE)
ORDER BY time DESC, session_id, tool_call_id
LIMIT $limit
