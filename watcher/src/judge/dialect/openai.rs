//! OpenAI's chat completions with a strict JSON schema: also vLLM, llama.cpp, Ollama, Azure and most gateways.

use super::{Ask, Reply, Sending, model, text};
use crate::judge::config::JudgeConfig;
use crate::judge::failure::Failure;
use crate::judge::prompt::{Prompt, Role};
use serde_json::{Value, json};
use wk_schemas::Digest;

/// As many of the likeliest tokens as the API gives.
const TOP: u32 = 20;

pub(super) fn sending(config: &JudgeConfig, key: Option<&str>, ask: Ask, prompt: &Prompt, session: &str) -> Sending {
    let messages: Vec<Value> = prompt
        .messages
        .iter()
        .map(|m| {
            let role = match m.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            json!({"role": role, "content": m.text})
        })
        .collect();
    let mut body = json!({
        "model": model(config, ask),
        "messages": messages,
        "temperature": 0,
        "max_completion_tokens": config.answer_tokens,
        // Names the conversation to a provider's cache without naming the session.
        "prompt_cache_key": Digest::of(session.as_bytes()).to_hex()[..16],
    });
    match ask {
        Ask::Look(look) => {
            body["response_format"] = json!({
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": true, "schema": look.schema(&prompt.evidence())},
            });
        }
        Ask::Digit => {
            body["max_completion_tokens"] = json!(1);
            body["logprobs"] = json!(true);
            body["top_logprobs"] = json!(TOP);
        }
    }
    let headers = key.map(|k| ("authorization", format!("Bearer {k}"))).into_iter().collect();
    Sending { headers, body }
}

pub(super) fn reply(body: &Value) -> Result<Reply, Failure> {
    let choice = &body["choices"][0];
    let message = &choice["message"];
    // A refusal is no object, and what was cut is not whole: both are looked for before anything is parsed.
    if let Some(refusal) = message["refusal"].as_str().filter(|r| !r.is_empty()) {
        return Err(Failure::Refused(crate::text::cut(refusal, 200).to_owned()));
    }
    match choice["finish_reason"].as_str() {
        Some("content_filter") => return Err(Failure::Refused("a content filter stopped the answer".to_owned())),
        // A single digit always ends by the limit.
        Some("length") if choice["logprobs"].is_null() => return Err(Failure::Truncated),
        _ => {}
    }
    let Some(answer) = message["content"].as_str() else {
        return Err(Failure::Malformed("there is no content in the first choice".to_owned()));
    };
    let first_token = choice["logprobs"]["content"][0]["top_logprobs"].as_array().into_iter().flatten();
    Ok(Reply {
        text: answer.to_owned(),
        model: text(&body["model"]),
        tokens: (
            body["usage"]["prompt_tokens"].as_u64().unwrap_or_default(),
            body["usage"]["completion_tokens"].as_u64().unwrap_or_default(),
        ),
        first_token: first_token.filter_map(|t| Some((text(&t["token"]), t["logprob"].as_f64()?))).collect(),
    })
}
