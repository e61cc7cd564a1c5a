-- title: How long people take to decide
-- about: Per kind of action: how many questions were answered by a person, and the median, 95th percentile and longest wait in milliseconds.
-- param: since time = 30d | Asked from then on.
SELECT action, count(*) AS decided, CAST(approx_percentile_cont(waited_us, 0.5) AS BIGINT) / 1000 AS median_ms,
       CAST(approx_percentile_cont(waited_us, 0.95) AS BIGINT) / 1000 AS p95_ms, max(waited_us) / 1000 AS longest_ms
FROM approvals
WHERE asked >= $since AND state IN ('GRANTED', 'DENIED')
GROUP BY action
ORDER BY decided DESC, action
