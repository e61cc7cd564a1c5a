-- title: Who asked the lake what, and who took evidence out
-- about: Questions and exports of evidence per person and door: we audit ourselves. errors counts questions that got no answer.
-- param: since time = 30d | From then on.
SELECT "user", door, count(*) AS asked, sum(rows) AS rows, count(*) FILTER (WHERE error IS NOT NULL) AS errors, max(time) AS last
FROM (SELECT occurred_at AS time, query_run['user'] AS "user", query_run['door'] AS door, query_run['rows'] AS rows, query_run['error'] AS error
      FROM records WHERE kind = 'query_run' AND occurred_at >= $since
      UNION ALL
      SELECT occurred_at, evidence_exported['user'], concat('export ', evidence_exported['framework']), evidence_exported['records'], NULL
      FROM records WHERE kind = 'evidence_exported' AND occurred_at >= $since)
GROUP BY "user", door
ORDER BY asked DESC, "user", door
