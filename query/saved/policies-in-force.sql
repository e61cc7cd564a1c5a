-- title: Which policy was in force where
-- about: Every policy that a session was put under, with its digest, so that a change in the middle of a session shows.
-- param: since time = 7d | From then on.
SELECT session_id, occurred_at AS since, policy_applied['name'] AS policy, policy_applied['source'] AS source, policy_applied['digest'] AS digest
FROM records
WHERE kind = 'policy_applied' AND occurred_at >= $since
ORDER BY since, session_id
