-- title: Who read credentials
-- about: Reads of files that usually hold keys, tokens or passwords, by session and program; attempts that were refused are shown as such.
-- param: since time = 7d | From then on.
SELECT min(time) AS first, session_id, image, path, outcome, mediation, sum(count) AS times
FROM file_access
WHERE operation = 'READ' AND time >= $since AND (
  path LIKE '%/.ssh/id_%' OR path LIKE '%/.aws/credentials' OR path LIKE '%/.config/gcloud/%' OR path LIKE '%/.azure/%'
  OR path LIKE '%/.kube/config' OR path LIKE '%/.docker/config.json' OR path LIKE '%/.netrc' OR path LIKE '%/.npmrc'
  OR path LIKE '%/.pypirc' OR path LIKE '%/.git-credentials' OR path LIKE '%/.gnupg/%' OR path LIKE '%/.env' OR path LIKE '%.pem'
  OR path LIKE '/etc/shadow%')
GROUP BY session_id, image, path, outcome, mediation
ORDER BY first, session_id, path, outcome
