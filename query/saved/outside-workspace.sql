-- title: What was changed outside of the workspace
-- about: Files that a session wrote, made, moved or removed outside of the folder that it was started for; temporary folders and devices are left out.
-- param: since time = 7d | From then on.
SELECT f.session_id, s.workspace, f.path, f.operation, f.image, f.outcome, min(f.time) AS first, sum(f.count) AS times
FROM file_access f
JOIN (SELECT session_id, session_started['workspace'] AS workspace FROM records WHERE kind = 'session_started') s ON f.session_id = s.session_id
WHERE f.operation <> 'READ' AND f.time >= $since AND f.path <> s.workspace AND NOT starts_with(f.path, concat(s.workspace, '/'))
  AND f.path NOT LIKE '/tmp/%' AND f.path NOT LIKE '/dev/%' AND f.path NOT LIKE '/proc/%'
GROUP BY f.session_id, s.workspace, f.path, f.operation, f.image, f.outcome
ORDER BY first, f.session_id, f.path, f.operation
