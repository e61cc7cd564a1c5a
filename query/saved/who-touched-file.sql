-- title: Who touched this file
-- about: Every session and program that opened, changed or removed a file, refused attempts included; or every file whose path is like a pattern with % and _.
-- param: path text | Absolute path, or a pattern: /home/%/.ssh/%.
-- param: since time = 30d | From then on.
-- param: until time = 0s | Up to then.
SELECT f.time, f.session_id, s.principal, f.agent, f.image, f.operation, f.path, f.target_path, f.count, f.outcome, f.mediation
FROM file_access f
LEFT JOIN (SELECT session_id, max(principal) AS principal FROM records GROUP BY session_id) s ON f.session_id = s.session_id
WHERE (f.path LIKE $path OR f.target_path LIKE $path) AND f.time >= $since AND f.time <= $until
ORDER BY f.time, f.session_id
