-- title: How the plan of this session changed
-- about: The steps of every revision of the plan, in order; a step that was not in the revision before is marked as new.
-- param: session text | The session's id.
SELECT p.revision, p.step, p.text, p.status, p.revision > 0 AND b.text IS NULL AS new, p.source, p.time
FROM plans p
LEFT JOIN (SELECT DISTINCT revision, text FROM plans WHERE session_id = $session) b
  ON b.revision = p.revision - 1 AND b.text = p.text
WHERE p.session_id = $session
ORDER BY p.revision, p.time, p.step
