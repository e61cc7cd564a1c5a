-- title: Why messages could not be read
-- about: Messages on the log that are not exactly one canonical record, per topic and reason; where each lies is in the view dead_letters.
-- param: since time = 30d | From then on.
SELECT topic, reason, count(*) AS messages, sum(value_bytes) AS bytes, min("offset") AS first_offset, max("offset") AS last_offset, max(time) AS last
FROM dead_letters
WHERE part = 0 AND time >= $since
GROUP BY topic, reason
ORDER BY messages DESC, topic, reason
