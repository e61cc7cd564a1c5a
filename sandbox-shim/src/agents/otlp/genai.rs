//! What OpenTelemetry's spans and log records say about an agent: the GenAI conventions, and the events of Claude Code and Codex.
//!
//! ```text
//! span   execute_tool, tools/call            call and return, observed
//! span   chat, invoke_agent, …               agent and model; prompt and messages, where content is recorded
//! log    gen_ai.*.message, …operation.details prompt and messages
//! log    claude_code.user_prompt, codex.user_prompt, *.tool_result
//! ```
//! All of it comes after the fact and in batches. Beside hooks it is a second testimony: a call that a hook has told is known by its id.

use super::super::{Said, ToolAnswer, ToolCall, names_in, plain, text};
use serde_json::{Map, Value};

/// Translates an export request in its JSON form.
pub(super) fn said(request: &Value) -> Vec<Said> {
    let mut out = Vec::new();
    let spans = listed(request, ["resourceSpans", "scopeSpans", "spans"]);
    let logs = listed(request, ["resourceLogs", "scopeLogs", "logRecords"]);
    if spans.is_empty() && logs.is_empty() && !is_export(request) {
        return vec![Said::Lost("an export without spans or log records".into())];
    }
    let mut spans: Vec<(u64, &Value)> =
        spans.into_iter().map(|span| (nanos(span, "startTimeUnixNano"), span)).collect();
    spans.sort_by_key(|(at, _)| *at);
    spans.iter().for_each(|(_, span)| self::span(span, &mut out));
    let mut logs: Vec<(u64, &Value)> = logs.into_iter().map(|log| (nanos(log, "timeUnixNano"), log)).collect();
    logs.sort_by_key(|(at, _)| *at);
    logs.iter().for_each(|(_, log)| self::log(log, &mut out));
    out
}

/// An empty export is one all the same.
fn is_export(request: &Value) -> bool {
    request
        .as_object()
        .is_some_and(|r| r.is_empty() || r.contains_key("resourceSpans") || r.contains_key("resourceLogs"))
}

fn listed<'a>(request: &'a Value, path: [&str; 3]) -> Vec<&'a Value> {
    path.iter().fold(vec![request], |values, key| {
        values.into_iter().filter_map(|v| v.get(*key)?.as_array()).flatten().collect()
    })
}

/// 64-bit numbers are text in OTLP's JSON; some exporters write numbers.
fn nanos(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok())).unwrap_or(0)
}

/// The attributes as plain JSON.
fn attributes(of: &Value) -> Map<String, Value> {
    let list = of.get("attributes").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|a| Some((text(a, "key")?, any_value(a.get("value")?, 0)))).collect()
}

fn any_value(value: &Value, depth: u8) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|fields| fields.iter().next()) else { return Value::Null };
    let list = |inner: &'_ Value| inner.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
    match kind.as_str() {
        _ if depth > 32 => Value::Null,
        "arrayValue" => list(inner).iter().map(|v| any_value(v, depth + 1)).collect(),
        "kvlistValue" => {
            let fields = list(inner);
            let pairs = fields.iter().filter_map(|p| Some((text(p, "key")?, any_value(p.get("value")?, depth + 1))));
            Value::Object(pairs.collect())
        }
        _ => inner.clone(),
    }
}

fn string(attributes: &Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| attributes.get(*key)).map(plain).filter(|text| !text.is_empty())
}

/// A value that is JSON, or text that holds JSON.
fn json_in(attributes: &Map<String, Value>, keys: &[&str]) -> Option<Value> {
    let value = keys.iter().find_map(|key| attributes.get(*key))?;
    Some(value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone()))
}

fn span(span: &Value, out: &mut Vec<Said>) {
    let attributes = attributes(span);
    let operation = string(&attributes, &["gen_ai.operation.name"]).unwrap_or_default();
    let is_mcp = attributes.get("mcp.method.name").is_some_and(|method| method == "tools/call");
    if operation == "execute_tool" || is_mcp {
        return tool(span, &attributes, out);
    }
    if operation.is_empty() {
        return;
    }
    let name = string(&attributes, &["gen_ai.agent.name"]);
    let model = string(&attributes, &["gen_ai.response.model", "gen_ai.request.model"]);
    if name.is_some() || model.is_some() {
        out.push(Said::Agent { name, version: string(&attributes, &["gen_ai.agent.version"]), model });
    }
    contents(&attributes, out);
}

fn tool(span: &Value, attributes: &Map<String, Value>, out: &mut Vec<Said>) {
    let own_id = || text(span, "spanId").map(|id| format!("otel/{id}"));
    let Some(id) = string(attributes, &["gen_ai.tool.call.id"]).or_else(own_id) else {
        out.push(Said::Lost("a tool's span without an id".into()));
        return;
    };
    let named = text(span, "name").and_then(|name| name.strip_prefix("execute_tool ").map(str::to_owned));
    let tool = string(attributes, &["gen_ai.tool.name"]).or(named).unwrap_or_default();
    let arguments = json_in(attributes, &["gen_ai.tool.call.arguments"]).unwrap_or(Value::Null);
    let failed = attributes.contains_key("error.type")
        || span.pointer("/status/code").is_some_and(|code| *code == 2 || *code == "STATUS_CODE_ERROR");
    let took = nanos(span, "endTimeUnixNano").checked_sub(nanos(span, "startTimeUnixNano"));
    let mut call = call(id, tool, &arguments);
    call.subagent = string(attributes, &["gen_ai.agent.id"]);
    let answer = ToolAnswer {
        id: call.id.clone(),
        tool: call.tool.clone(),
        success: Some(!failed),
        output: string(attributes, &["gen_ai.tool.call.result", "error.type"]).unwrap_or_default(),
        duration_us: took.and_then(|ns| i64::try_from(ns / 1000).ok()),
    };
    out.extend([Said::Called(call), Said::Returned(answer)]);
}

fn call(id: String, tool: String, arguments: &Value) -> ToolCall {
    let command = ["command", "cmd"].iter().find_map(|key| text(arguments, key));
    ToolCall {
        id,
        tool,
        class: if command.is_some() { "shell" } else { "other" },
        arguments: arguments.to_string(),
        names: names_in(arguments),
        command,
        ..ToolCall::default()
    }
}

/// Messages in and out, where the instrumentation records content.
fn contents(attributes: &Map<String, Value>, out: &mut Vec<Said>) {
    let messages = |key: &str| json_in(attributes, &[key]).and_then(|v| v.as_array().cloned()).unwrap_or_default();
    let parts = |message: &Value, kind: &str| -> String {
        let parts = message.get("parts").and_then(Value::as_array).into_iter().flatten();
        let texts =
            parts.filter(|part| part.get("type").is_some_and(|t| *t == kind)).filter_map(|p| text(p, "content"));
        texts.collect::<Vec<_>>().join("\n")
    };
    // The whole conversation comes with each request; what is new is its end.
    if let Some(last) = messages("gen_ai.input.messages").last().filter(|m| m.get("role").is_some_and(|r| r == "user"))
    {
        let prompt = parts(last, "text");
        out.extend((!prompt.is_empty()).then_some(Said::Prompt(prompt)));
    }
    for message in messages("gen_ai.output.messages") {
        for (kind, form) in [("reasoning", "reasoning"), ("text", "message")] {
            let text = parts(&message, kind);
            out.extend((!text.is_empty()).then_some(Said::Thought { text, form }));
        }
    }
}

fn log(log: &Value, out: &mut Vec<Said>) {
    let attributes = attributes(log);
    let name = text(log, "eventName").filter(|n| !n.is_empty()).or_else(|| string(&attributes, &["event.name"]));
    let name = name.or_else(|| log.pointer("/body/stringValue").map(plain)).unwrap_or_default();
    let body = log.get("body").map(|body| any_value(body, 0)).unwrap_or(Value::Null);
    let short = name.strip_prefix("claude_code.").or_else(|| name.strip_prefix("codex.")).unwrap_or(&name);
    match short {
        "user_prompt" => {
            out.extend(string(&attributes, &["prompt"]).filter(|p| !p.contains("REDACTED")).map(Said::Prompt))
        }
        "tool_result" => result(&attributes, out),
        "gen_ai.user.message" => out.extend(text(&body, "content").map(Said::Prompt)),
        "gen_ai.assistant.message" | "gen_ai.choice" => {
            let content = text(&body, "content").or_else(|| text(body.get("message")?, "content"));
            out.extend(content.filter(|t| !t.is_empty()).map(|text| Said::Thought { text, form: "message" }));
        }
        "gen_ai.client.inference.operation.details" => contents(&attributes, out),
        _ => {}
    }
}

/// A tool's result as Claude Code and Codex log it. Without an id it cannot be told from one that a hook has told, so it is left out.
fn result(attributes: &Map<String, Value>, out: &mut Vec<Said>) {
    let Some(id) = string(attributes, &["call_id", "tool_use_id"]) else { return };
    let tool = string(attributes, &["tool_name"]).unwrap_or_default();
    let arguments = json_in(attributes, &["arguments", "tool_input", "tool_parameters"]).unwrap_or(Value::Null);
    let number = |key: &str| string(attributes, &[key]).and_then(|n| n.parse::<i64>().ok());
    let answer = ToolAnswer {
        id: id.clone(),
        tool: tool.clone(),
        success: string(attributes, &["success"]).map(|s| s == "true"),
        output: string(attributes, &["output", "error"]).unwrap_or_default(),
        duration_us: number("duration_ms").map(|ms| ms.saturating_mul(1000)),
    };
    out.extend([Said::Called(call(id, tool, &arguments)), Said::Returned(answer)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spans_are_told_in_the_order_of_their_beginning() {
        let spans = include_str!("../../../tests/samples/otel/genai.spans.composed.json");
        let said = said(&serde_json::from_str(spans).unwrap());
        assert_eq!(said[0], Said::Agent { name: Some("fixer".into()), version: None, model: Some("m-1".into()) });
        assert_eq!(said[1], Said::Prompt("fix the typo".into()));
        assert_eq!(said[2], Said::Thought { text: "I should look.".into(), form: "reasoning" });
        assert_eq!(said[3], Said::Thought { text: "I look first.".into(), form: "message" });
        assert!(matches!(&said[4], Said::Called(c) if c.id == "call_mszuSIzqtI65i1wAUOE8w5H4" && c.class == "shell"
            && c.tool == "run_shell_command" && c.command.as_deref() == Some("ls")));
        assert!(
            matches!(&said[5], Said::Returned(a) if a.success == Some(true) && a.duration_us == Some(27_000)
            && a.output == r#"{"output":"src"}"#),
            "{:?}",
            said[5]
        );
        assert!(matches!(&said[6], Said::Called(c) if c.id == "otel/0000000000000003" && c.tool == "get_weather"));
        assert!(matches!(&said[7], Said::Returned(a) if a.success == Some(false)));
        assert_eq!(said.len(), 8, "{said:?}");
    }

    #[test]
    fn results_of_the_vendors_logs_are_told_by_the_ids_that_hooks_use() {
        let logs = include_str!("../../../tests/samples/otel/vendors.logs.composed.json");
        let said = said(&serde_json::from_str(logs).unwrap());
        let returned = |id: &str| {
            said.iter().find_map(|s| match s {
                Said::Returned(a) if a.id == id => Some((a.success, a.duration_us)),
                _ => None,
            })
        };
        assert_eq!(returned("toolu_01ABD"), Some((Some(true), Some(42_000))));
        assert!(returned("call_1").is_some(), "{said:?}");
        assert!(said.iter().any(|s| matches!(s, Said::Called(c) if c.command.as_deref() == Some("npm test"))));
        assert!(!said.iter().any(|s| matches!(s, Said::Prompt(p) if p.contains("REDACTED"))), "{said:?}");
    }

    #[test]
    fn an_empty_export_says_nothing_and_anything_else_is_lost() {
        assert_eq!(said(&json!({})), []);
        assert_eq!(said(&json!({"resourceLogs": []})), []);
        assert!(matches!(&said(&json!({"spans": []}))[..], [Said::Lost(_)]));
    }
}
