-- title: Which names were looked up and never reached
-- about: Host names that a session resolved, or tried to, without a connection to that name: a way to carry data out, or a fault in the network.
-- param: since time = 7d | From then on.
SELECT n.session_id, n.name, n.record_type, n.outcome, count(*) AS lookups, min(n.time) AS first, min(n.image) AS image
FROM (SELECT occurred_at AS time, session_id, name_resolved['name'] AS name, name_resolved['record_type'] AS record_type,
             name_resolved['outcome'] AS outcome, name_resolved['actor']['image'] AS image
      FROM records WHERE kind = 'name_resolved' AND occurred_at >= $since) n
LEFT ANTI JOIN (SELECT session_id, host_name FROM connections WHERE outcome <> 'HELD') c ON c.session_id = n.session_id AND c.host_name = n.name
GROUP BY n.session_id, n.name, n.record_type, n.outcome
ORDER BY lookups DESC, n.session_id, n.name, n.record_type
