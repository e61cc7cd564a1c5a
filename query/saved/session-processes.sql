-- title: Which programs ran in this session, and who started them
-- about: The process tree of one session as a list: each program executed, its parent, and the tool call that explains it. Programs without a tool call stand out by an empty tool_call_id.
-- param: session text | The session's id.
SELECT time, parent_pid, parent_image, pid, image, command_line, outcome, mediation, tool_call_id
FROM processes
WHERE session_id = $session
ORDER BY time, pid
