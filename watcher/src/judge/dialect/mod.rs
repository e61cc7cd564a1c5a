//! The languages that endpoints speak: what a prompt looks like on the wire, and where the answer stands. Pure.

mod anthropic;
mod openai;
mod webhook;

use super::config::{DialectName, JudgeConfig};
use super::failure::Failure;
use super::look::Look;
use super::prompt::Prompt;
use serde_json::Value;

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// The answer's text, or its object as text.
    pub(super) text: String,
    /// The model that answered, as the endpoint names it.
    pub(super) model: String,
    /// Tokens read and written.
    pub(super) tokens: (u64, u64),
    /// Tokens that might have stood first, with their log probabilities.
    pub(super) first_token: Vec<(String, f64)>,
}

/// What is to be sent: headers beside the content type, and the body.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Value,
}

/// What is asked of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// An object of a look's schema.
    Look(Look),
    /// One digit, with the log probabilities of all of them.
    Digit,
}

/// Puts a prompt into the endpoint's language.
pub(super) fn sending(config: &JudgeConfig, key: Option<&str>, ask: Ask, prompt: &Prompt, session: &str) -> Sending {
    let mut sending = match config.dialect {
        DialectName::OpenaiChat => openai::sending(config, key, ask, prompt, session),
        DialectName::AnthropicMessages => anthropic::sending(config, key, ask, prompt),
        DialectName::Webhook => webhook::sending(config, key, ask, prompt),
    };
    if let Some(fields) = sending.body.as_object_mut() {
        fields.extend(config.extra.iter().map(|(k, v)| (k.clone(), v.clone())));
        for name in &config.omit {
            fields.remove(name);
        }
    }
    sending
}

/// Finds the answer in what the endpoint sent back with a status of success.
///
/// # Errors
/// [`Failure::Refused`], [`Failure::Truncated`], [`Failure::Malformed`].
pub(super) fn reply(dialect: DialectName, body: &str) -> Result<Reply, Failure> {
    let body: Value = serde_json::from_str(body).map_err(|error| Failure::Malformed(error.to_string()))?;
    match dialect {
        DialectName::OpenaiChat => openai::reply(&body),
        DialectName::AnthropicMessages => anthropic::reply(&body),
        DialectName::Webhook => webhook::reply(&body),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn model(config: &JudgeConfig, ask: Ask) -> &str {
    match (ask, config.second_model.as_str()) {
        (Ask::Look(Look::First), _) | (_, "") => &config.model,
        (_, second) => second,
    }
}
