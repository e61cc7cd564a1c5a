//! View `timeline`: everything that a person can read about a session, one line per record.

use super::{Column, DAY, ORIGIN, RECORD, SESSION, TIME, View, column};

pub(super) const VIEW: View = View {
    name: "timeline",
    doc: "Everything that is known of a session, one line per record: order it by time, topic, seq.",
    columns: COLUMNS,
    with: "",
    from: "records",
};

const COLUMNS: &[Column] = &[
    TIME,
    SESSION,
    column("kind", "text", "What the record is: tool_called, file_accessed, finding, …", "kind"),
    column(
        "who",
        "text",
        "Program, agent, rule or person that did it.",
        "CASE kind \
         WHEN 'process_started' THEN process_started['actor']['image'] \
         WHEN 'process_exited' THEN process_exited['actor']['image'] \
         WHEN 'file_accessed' THEN file_accessed['actor']['image'] \
         WHEN 'connection_attempted' THEN connection_attempted['actor']['image'] \
         WHEN 'name_resolved' THEN name_resolved['actor']['image'] \
         WHEN 'call_attempted' THEN call_attempted['actor']['image'] \
         WHEN 'approval_requested' THEN approval_requested['actor']['image'] \
         WHEN 'approval_resolved' THEN approval_resolved['by'] \
         WHEN 'approval' THEN approval['approver'] \
         WHEN 'command' THEN command['by'] \
         WHEN 'finding' THEN finding['source'] \
         WHEN 'query_run' THEN query_run['user'] \
         WHEN 'evidence_exported' THEN evidence_exported['user'] \
         WHEN 'prompt_submitted' THEN principal \
         WHEN 'plan_declared' THEN agent_name WHEN 'thought' THEN agent_name \
         WHEN 'tool_called' THEN agent_name WHEN 'tool_returned' THEN agent_name \
         ELSE writer END",
    ),
    column(
        "what",
        "text",
        "What happened, in one line; long texts are cut.",
        "substr(translate(CASE kind \
         WHEN 'session_started' THEN concat('started ', array_to_string(session_started['arguments'], ' ')) \
         WHEN 'session_ended' THEN concat('ended: ', session_ended['reason'], ', exit code ', \
           coalesce(CAST(session_ended['exit_code'] AS VARCHAR), '-'), ', signal ', coalesce(CAST(session_ended['signal'] AS VARCHAR), '-')) \
         WHEN 'prompt_submitted' THEN concat('task: ', prompt_submitted['text']) \
         WHEN 'plan_declared' THEN concat('plan ', plan_declared['revision'], ' (', plan_declared['source'], '), ', \
           coalesce(array_length(plan_declared['steps']), 0), ' steps') \
         WHEN 'thought' THEN concat(thought['form'], ': ', thought['text']) \
         WHEN 'tool_called' THEN concat(tool_called['tool'], ' ', coalesce(tool_called['command_text'], tool_called['arguments'])) \
         WHEN 'tool_returned' THEN concat(tool_returned['tool'], CASE WHEN tool_returned['success'] IS NULL THEN ' returned ' \
           WHEN tool_returned['success'] THEN ' succeeded ' ELSE ' failed ' END, tool_returned['output']) \
         WHEN 'process_started' THEN process_started['command_line'] \
         WHEN 'process_exited' THEN concat('exit code ', coalesce(CAST(process_exited['exit_code'] AS VARCHAR), '-'), ', signal ', \
           coalesce(CAST(process_exited['signal'] AS VARCHAR), '-')) \
         WHEN 'file_accessed' THEN concat(lower(file_accessed['operation']), ' ', file_accessed['path'], \
           CASE WHEN file_accessed['target_path'] IS NULL THEN '' ELSE concat(' -> ', file_accessed['target_path']) END, \
           CASE WHEN file_accessed['count'] > 1 THEN concat(' (', file_accessed['count'], ' times)') ELSE '' END) \
         WHEN 'connection_attempted' THEN concat(lower(connection_attempted['operation']), ' ', connection_attempted['protocol'], ' ', \
           connection_attempted['address'], coalesce(concat(':', CAST(connection_attempted['port'] AS VARCHAR)), ''), \
           CASE WHEN connection_attempted['host_name'] IS NULL THEN '' ELSE concat(' (', connection_attempted['host_name'], ')') END) \
         WHEN 'name_resolved' THEN concat('resolve ', name_resolved['record_type'], ' ', name_resolved['name']) \
         WHEN 'call_attempted' THEN concat(call_attempted['call'], ' ', call_attempted['detail'], ': ', call_attempted['reason']) \
         WHEN 'records_lost' THEN concat(records_lost['count'], ' records lost at ', records_lost['stage'], ': ', records_lost['reason']) \
         WHEN 'policy_applied' THEN concat('policy ', policy_applied['name'], ' in force, from ', policy_applied['source']) \
         WHEN 'approval_requested' THEN concat('held: ', approval_requested['subject'], ' - ', approval_requested['reason']) \
         WHEN 'approval_resolved' THEN concat(lower(approval_resolved['resolution']), ': ', approval_resolved['reason']) \
         WHEN 'session_frozen' THEN concat('frozen: ', session_frozen['processes'], ' processes in ', session_frozen['took_us'], \
           ' us (', session_frozen['method'], '): ', session_frozen['reason']) \
         WHEN 'session_resumed' THEN concat('resumed in ', session_resumed['took_us'], ' us: ', session_resumed['reason']) \
         WHEN 'session_killed' THEN concat('killed: ', session_killed['processes'], ' processes: ', session_killed['reason']) \
         WHEN 'finding' THEN concat(finding['level'], ' ', finding['title'], ': ', finding['description']) \
         WHEN 'command' THEN concat(lower(command['instruction']), ': ', command['reason']) \
         WHEN 'approval' THEN concat(lower(approval['decision']), ': ', approval['reason']) \
         WHEN 'query_run' THEN concat('asked: ', query_run['sql']) \
         WHEN 'evidence_exported' THEN concat('exported ', evidence_exported['framework'], ' evidence, ', \
           evidence_exported['from_day'], ' to ', evidence_exported['to_day']) \
         WHEN 'dead_letter' THEN concat('unreadable message at ', dead_letter['topic'], '/', dead_letter['partition'], '/', \
           dead_letter['offset'], ': ', dead_letter['reason']) \
         END, chr(10) || chr(13) || chr(9), '   '), 1, 2000)",
    ),
    column(
        "outcome",
        "text",
        "ALLOWED, SUCCEEDED, FAILED, DENIED, HELD; for an answered hold GRANTED, DENIED, EXPIRED, ABANDONED.",
        "CASE kind \
         WHEN 'process_started' THEN process_started['outcome'] \
         WHEN 'file_accessed' THEN file_accessed['outcome'] \
         WHEN 'connection_attempted' THEN connection_attempted['outcome'] \
         WHEN 'name_resolved' THEN name_resolved['outcome'] \
         WHEN 'call_attempted' THEN call_attempted['outcome'] \
         WHEN 'tool_called' THEN upper(tool_called['decision']) \
         WHEN 'approval_requested' THEN 'HELD' \
         WHEN 'approval_resolved' THEN approval_resolved['resolution'] END",
    ),
    column(
        "mediation",
        "text",
        "DECLARED: a tool call names it. INHERITED: it descends from a call that does not. AGENT: the agent's own. NONE: no call explains it.",
        "CASE kind \
         WHEN 'process_started' THEN process_started['actor']['mediation'] \
         WHEN 'file_accessed' THEN file_accessed['actor']['mediation'] \
         WHEN 'connection_attempted' THEN connection_attempted['actor']['mediation'] \
         WHEN 'name_resolved' THEN name_resolved['actor']['mediation'] \
         WHEN 'call_attempted' THEN call_attempted['actor']['mediation'] \
         WHEN 'approval_requested' THEN approval_requested['actor']['mediation'] END",
    ),
    column(
        "tool_call_id",
        "text",
        "The tool call it is, or descends from.",
        "CASE kind \
         WHEN 'tool_called' THEN tool_called['tool_call_id'] \
         WHEN 'tool_returned' THEN tool_returned['tool_call_id'] \
         WHEN 'process_started' THEN process_started['actor']['tool_call_id'] \
         WHEN 'process_exited' THEN process_exited['actor']['tool_call_id'] \
         WHEN 'file_accessed' THEN file_accessed['actor']['tool_call_id'] \
         WHEN 'connection_attempted' THEN connection_attempted['actor']['tool_call_id'] \
         WHEN 'name_resolved' THEN name_resolved['actor']['tool_call_id'] \
         WHEN 'call_attempted' THEN call_attempted['actor']['tool_call_id'] \
         WHEN 'approval_requested' THEN approval_requested['tool_call_id'] END",
    ),
    ORIGIN,
    column("topic", "text", "Topic of the log it came from.", "topic"),
    column("writer", "text", "Who wrote it.", "writer"),
    column("seq", "bigint", "Place among that writer's records of the session.", "seq"),
    RECORD,
    DAY,
];
