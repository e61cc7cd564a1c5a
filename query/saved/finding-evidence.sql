-- title: What a finding rests on
-- about: The findings of one session, each with the records that are its evidence, in the words of the timeline.
-- param: session text | The session's id.
SELECT f.time AS found, f.level, f.title, e.time AS happened, e.kind, e.who, e.what
FROM (SELECT time, level, title, unnest(evidence) AS record FROM findings WHERE session_id = $session) f
LEFT JOIN (SELECT time, kind, who, what, record_id FROM timeline WHERE session_id = $session) e ON e.record_id = f.record
ORDER BY found, happened, e.what
