-- title: Which held actions wait for an answer
-- about: Actions that a shim holds and nobody has answered, the one whose deadline comes first on top. One whose session has ended waits for nobody.
-- param: since time = 7d | Asked from then on.
SELECT a.deadline, a.asked, a.session_id, a.agent, a.action, a.subject, a.reason, a.ticket
FROM approvals a
LEFT JOIN (SELECT DISTINCT session_id FROM records WHERE kind IN ('session_ended', 'session_killed')) e ON a.session_id = e.session_id
WHERE a.state = 'OPEN' AND a.decided IS NULL AND e.session_id IS NULL AND a.asked >= $since
ORDER BY a.deadline, a.ticket
