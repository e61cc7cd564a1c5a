-- title: Which rules fire, how often and how hard
-- about: Findings per rule: sessions touched, how many led to a question, a freeze or a kill. A rule that fires in every session tells nothing.
-- param: since time = 7d | From then on.
SELECT title, source, level, count(*) AS findings, count(DISTINCT session_id) AS sessions,
       count(*) FILTER (WHERE step = 'ASK') AS asked, count(*) FILTER (WHERE step IN ('FREEZE', 'KILL')) AS stopped, max(time) AS last
FROM findings
WHERE time >= $since
GROUP BY title, source, level
ORDER BY findings DESC, title, level
