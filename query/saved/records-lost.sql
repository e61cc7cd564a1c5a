-- title: Where the record has holes
-- about: What the shim knows it could not record, per session and stage. A count of -1 on the log is a hole of unknown size and counts as one.
-- param: since time = 30d | From then on.
SELECT session_id, records_lost['stage'] AS stage, records_lost['reason'] AS reason, count(*) AS holes,
       sum(greatest(records_lost['count'], 1)) AS at_least, min(occurred_at) AS first, max(occurred_at) AS last
FROM records
WHERE kind = 'records_lost' AND occurred_at >= $since
GROUP BY session_id, records_lost['stage'], records_lost['reason']
ORDER BY at_least DESC, session_id, stage
