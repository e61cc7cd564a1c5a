-- title: Who decides on held actions, and how
-- about: Grants and denials per person, with the share that was granted and how long the action waited. Someone who grants everything within seconds is not reading.
-- param: since time = 30d | Asked from then on.
SELECT coalesce("by", '(nobody)') AS person, count(*) AS asked, count(*) FILTER (WHERE state = 'GRANTED') AS granted,
       count(*) FILTER (WHERE state = 'DENIED') AS denied, count(*) FILTER (WHERE state IN ('EXPIRED', 'ABANDONED')) AS unanswered,
       count(*) FILTER (WHERE state = 'OPEN') AS open, min(waited_us) / 1000 AS fastest_ms, max(waited_us) / 1000 AS slowest_ms
FROM approvals
WHERE asked >= $since
GROUP BY coalesce("by", '(nobody)')
ORDER BY asked DESC, person
