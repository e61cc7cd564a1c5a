-- title: Which software was installed
-- about: Package managers at work: what was asked of npm, pip, cargo, go, apt and their kin, by session.
-- param: since time = 7d | From then on.
SELECT time, session_id, host, command_line, outcome, mediation, tool_call_id
FROM processes
WHERE time >= $since AND regexp_like(command_line,
  '(^|[ /])(npm|pnpm|yarn|bun) (.* )?(install|add|i|ci)( |$)|(^|[ /])pip[0-9.]* (.* )?install |(^|[ /])uv (.* )?(add|install) |(^|[ /])cargo (install|add) |(^|[ /])go (install|get) |(^|[ /])(apt|apt-get|dnf|yum|apk|brew) (.* )?(install|add) |(^|[ /])gem install ')
ORDER BY time, session_id
