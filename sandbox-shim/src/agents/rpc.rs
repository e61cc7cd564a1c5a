//! JSON-RPC 2.0 as ACP, MCP and Codex's app-server speak it over lines; the last leaves out `jsonrpc`.

use super::Said;
use serde_json::Value;

/// One message. An id is kept as its JSON text, which tells `1` from `"1"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Message<'a> {
    Request { id: &'a Value, method: &'a str, params: &'a Value },
    Notification { method: &'a str, params: &'a Value },
    Response { id: &'a Value, result: Result<&'a Value, &'a Value> },
}

/// Reads a message, or says why it is none.
pub(super) fn message(value: &Value) -> Result<Message<'_>, &'static str> {
    let params = value.get("params").unwrap_or(&Value::Null);
    let method = value.get("method").and_then(Value::as_str);
    match (method, value.get("id").filter(|id| id.is_string() || id.is_number())) {
        (Some(method), Some(id)) => Ok(Message::Request { id, method, params }),
        (Some(method), None) => Ok(Message::Notification { method, params }),
        (None, Some(id)) => match (value.get("result"), value.get("error")) {
            (Some(result), _) => Ok(Message::Response { id, result: Ok(result) }),
            (None, Some(error)) => Ok(Message::Response { id, result: Err(error) }),
            (None, None) => Err("an answer without result or error"),
        },
        (None, None) => Err("a message without method or id"),
    }
}

/// What an error says, for a person.
pub(super) fn error_text(error: &Value) -> String {
    super::text(error, "message").unwrap_or_else(|| error.to_string())
}

/// Translates each message of a line, which may be a batch.
pub(super) fn each(line: &Value, mut translate: impl FnMut(Message<'_>) -> Vec<Said>) -> Vec<Said> {
    let batch = match line {
        Value::Array(batch) if batch.is_empty() => return vec![Said::Lost("an empty batch of messages".into())],
        Value::Array(batch) => batch.as_slice(),
        single => std::slice::from_ref(single),
    };
    batch
        .iter()
        .flat_map(|value| message(value).map_or_else(|why| vec![Said::Lost(why.into())], &mut translate))
        .collect()
}
