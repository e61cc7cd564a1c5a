-- title: What did this session change
-- about: Every file that a session wrote, made, moved, removed or changed the rights of, with how often and by which program. Attempts that failed or were refused are left out.
-- param: session text | The session's id.
SELECT path, operation, target_path, sum(count) AS times, min(time) AS first, max(coalesce(last_at, time)) AS last, image
FROM file_access
WHERE session_id = $session AND operation <> 'READ' AND outcome IN ('ALLOWED', 'SUCCEEDED')
GROUP BY path, operation, target_path, image
ORDER BY first, path, operation
