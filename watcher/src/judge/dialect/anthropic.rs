//! Anthropic's messages. The answer's form is that of a tool which the model has to use: every model of theirs knows that.

use super::{Ask, Reply, Sending, model, text};
use crate::judge::config::JudgeConfig;
use crate::judge::failure::Failure;
use crate::judge::prompt::{Prompt, Role};
use serde_json::{Value, json};

/// The version of the API that is spoken.
const VERSION: &str = "2023-06-01";
/// The tool whose input is the answer.
const TOOL: &str = "verdict";

pub(super) fn sending(config: &JudgeConfig, key: Option<&str>, ask: Ask, prompt: &Prompt) -> Sending {
    let cached = json!({"type": "ephemeral"});
    let mut messages: Vec<Value> = Vec::new();
    let mut system = Value::Null;
    for m in &prompt.messages {
        match m.role {
            Role::System => system = json!([{"type": "text", "text": m.text, "cache_control": cached}]),
            Role::User => messages.push(json!({"role": "user", "content": [{"type": "text", "text": m.text}]})),
            Role::Assistant => {
                messages.push(json!({"role": "assistant", "content": [{"type": "text", "text": m.text}]}))
            }
        }
    }
    // What comes next in the conversation begins with all of this.
    if let Some(last) = messages.last_mut() {
        last["content"][0]["cache_control"] = cached;
    }
    let mut body = json!({
        "model": model(config, ask),
        "system": system,
        "messages": messages,
        "temperature": 0,
        "max_tokens": config.answer_tokens,
    });
    if let Ask::Look(look) = ask {
        body["tools"] = json!([{
            "name": TOOL,
            "description": "Gives your judgement of the action.",
            "input_schema": look.schema(&prompt.evidence()),
        }]);
        body["tool_choice"] = json!({"type": "tool", "name": TOOL});
    }
    let mut headers = vec![("anthropic-version", VERSION.to_owned())];
    headers.extend(key.map(|k| ("x-api-key", k.to_owned())));
    Sending { headers, body }
}

pub(super) fn reply(body: &Value) -> Result<Reply, Failure> {
    match body["stop_reason"].as_str() {
        Some("refusal") => return Err(Failure::Refused("the model declined".to_owned())),
        Some("max_tokens") => return Err(Failure::Truncated),
        _ => {}
    }
    let blocks = body["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let used: Vec<&Value> =
        blocks.iter().filter(|b| b["type"] == "tool_use" && b["name"] == TOOL).map(|b| &b["input"]).collect();
    let [answer] = used.as_slice() else {
        return Err(Failure::Malformed(format!("the tool was used {} times instead of once", used.len())));
    };
    let count = |name: &str| body["usage"][name].as_u64().unwrap_or_default();
    let read = count("input_tokens") + count("cache_read_input_tokens") + count("cache_creation_input_tokens");
    Ok(Reply {
        text: answer.to_string(),
        model: text(&body["model"]),
        tokens: (read, count("output_tokens")),
        first_token: Vec::new(),
    })
}
