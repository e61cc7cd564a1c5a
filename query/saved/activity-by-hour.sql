-- title: How much happened, hour by hour
-- about: Sessions, tool calls, processes, files, connections and findings per hour. An hour without records while agents ran is a question to ask.
-- param: since time = 24h | From then on.
SELECT date_trunc('hour', occurred_at) AS hour, count(DISTINCT session_id) AS sessions, count(*) FILTER (WHERE kind = 'tool_called') AS tool_calls,
       count(*) FILTER (WHERE kind = 'process_started') AS processes, count(*) FILTER (WHERE kind = 'file_accessed') AS files,
       count(*) FILTER (WHERE kind = 'connection_attempted') AS connections, count(*) FILTER (WHERE kind = 'finding') AS findings, count(*) AS records
FROM records
WHERE occurred_at >= $since
GROUP BY date_trunc('hour', occurred_at)
ORDER BY hour
