-- title: Which programs hardly anybody runs
-- about: The long tail of processes: programs that ran in few sessions, rarest first.
-- param: since time = 30d | From then on.
-- param: sessions integer = 2 | In at most so many sessions.
-- param: limit integer = 100 | How many programs.
SELECT image, count(DISTINCT session_id) AS sessions, count(*) AS runs, min(session_id) AS session_id, min(command_line) AS example
FROM processes
WHERE time >= $since
GROUP BY image
HAVING count(DISTINCT session_id) <= $sessions
ORDER BY sessions, runs, image
LIMIT $limit
