//! Plain JSON over HTTP, for a judge of one's own: the prompt and the schema go out, the object comes back as the body.

use super::{Ask, Reply, Sending, model, text};
use crate::judge::config::JudgeConfig;
use crate::judge::failure::Failure;
use crate::judge::prompt::{Prompt, Role};
use serde_json::{Value, json};

pub(super) fn sending(config: &JudgeConfig, key: Option<&str>, ask: Ask, prompt: &Prompt) -> Sending {
    let messages: Vec<Value> = prompt
        .messages
        .iter()
        .map(|m| {
            let role = match m.role {
                Role::System => "policy",
                Role::User => "watcher",
                Role::Assistant => "judge",
            };
            json!({"role": role, "text": m.text})
        })
        .collect();
    let mut body = json!({"version": 1, "model": model(config, ask), "messages": messages});
    if let Ask::Look(look) = ask {
        body["schema"] = look.schema(&prompt.evidence());
    }
    let headers = key.map(|k| ("authorization", format!("Bearer {k}"))).into_iter().collect();
    Sending { headers, body }
}

/// `{"verdict": {…}, "model": "…", "tokens": [read, written]}`; only `verdict` is needed.
pub(super) fn reply(body: &Value) -> Result<Reply, Failure> {
    let Some(verdict) = body.get("verdict").filter(|v| v.is_object()) else {
        return Err(Failure::Malformed("the body has no object `verdict`".to_owned()));
    };
    Ok(Reply {
        text: verdict.to_string(),
        model: text(&body["model"]),
        tokens: (body["tokens"][0].as_u64().unwrap_or_default(), body["tokens"][1].as_u64().unwrap_or_default()),
        first_token: Vec::new(),
    })
}
