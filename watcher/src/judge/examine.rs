//! Puts one question to the endpoint: a first look, a second where the first is not plain, a digit where it is wanted.

use super::client::Client;
use super::failure::Failure;
use super::look::Look;
use super::prompt::{Conversation, Policy, Prompt};
use super::question::Question;
use super::verdict::{Cost, Outcome, Verdict, ppm};
use std::time::Duration;
use wk_schemas::{Digest, SessionId};

/// What came of a question, before it is known how long it took.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) verdict: Verdict,
    /// What failed, if anything did: the breaker wants to know.
    pub(super) failure: Option<Failure>,
}

/// Asks. `left` is how long the answer is of use at most; `None` when it always is.
pub(super) async fn examine(
    client: &Client,
    policy: &Policy,
    conversation: &mut Conversation,
    question: &Question,
    session: &SessionId,
    left: Option<Duration>,
) -> Examined {
    let mut verdict = Verdict {
        policy: policy.digest,
        probability_ppm: ppm(question.probability),
        ..Verdict::unavailable(question, &Failure::TimedOut)
    };
    match looks(client, policy, conversation, question, session, left, &mut verdict).await {
        Ok(()) => Examined { verdict, failure: None },
        Err(failure) => {
            // What was said so far must not stand in the next prompt without its answer.
            conversation.forget();
            verdict.outcome = Outcome::Unavailable { failure: failure.name().to_owned(), reason: failure.to_string() };
            Examined { verdict, failure: Some(failure) }
        }
    }
}

async fn looks(
    client: &Client,
    policy: &Policy,
    conversation: &mut Conversation,
    question: &Question,
    session: &SessionId,
    left: Option<Duration>,
    verdict: &mut Verdict,
) -> Result<(), Failure> {
    let config = client.config();
    let started = tokio::time::Instant::now();
    let within = |most: Duration| left.map_or(most, |l| most.min(l.saturating_sub(started.elapsed())));
    let mut prompt = conversation.first_look(policy, question);
    sent(verdict, &prompt);
    let mut told = client.look(Look::First, &prompt, session.as_str(), within(config.first_deadline)).await?;
    let first = told.text.clone();
    verdict.cost = add(verdict.cost, told.tokens);
    // What is held is always looked at twice: a person or a program waits for the reasons.
    if !told.answer.is_plain() || question.ticket.is_some() {
        prompt = conversation.second_look(policy, question, &first);
        sent(verdict, &prompt);
        told = client.look(Look::Second, &prompt, session.as_str(), within(config.second_deadline)).await?;
        verdict.cost = add(verdict.cost, told.tokens);
    }
    if config.digits && config.dialect == super::DialectName::OpenaiChat {
        // Only a refinement: without it the number that was written down counts.
        match client.digit(&prompt, session.as_str(), within(config.first_deadline)).await {
            Ok(digit) => verdict.digit = digit,
            Err(failure) => tracing::debug!(failure = failure.name(), "no distribution over digits"),
        }
    }
    conversation.keep(&first);
    verdict.model = told.model;
    verdict.outcome = Outcome::Answered(told.answer);
    Ok(())
}

fn sent(verdict: &mut Verdict, prompt: &Prompt) {
    verdict.prompt = prompt.digest();
    verdict.secrets = prompt.secrets;
    let first = prompt.names.first().map_or(verdict.about, |(_, id)| *id);
    verdict.window = (prompt.names.len(), first);
}

fn add(cost: Cost, tokens: (u64, u64)) -> Cost {
    Cost { tokens: (cost.tokens.0 + tokens.0, cost.tokens.1 + tokens.1), looks: cost.looks + 1, ..cost }
}

/// Under which an answer may stand for another question: the same action for the same task, with the same facts, asked of the
/// same models under the same policy. Ages and counts do not matter.
pub(super) fn cache_key(client: &Client, policy: &Policy, question: &Question) -> Digest {
    const VOLATILE: [&str; 6] =
        ["session.age_s", "secret.read_ago", "plan.step", "plan.revision", "secret.count", "host.first_seen"];
    let config = client.config();
    let action = question.subject().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text = format!("{}\n{}\n{}\n{action}\n", policy.digest, config.model, config.second_model);
    for task in &question.task {
        text.push_str(&format!("{}\n", Digest::of(task.text.as_bytes())));
    }
    for (name, value) in &question.facts {
        if !VOLATILE.contains(&name.as_str()) {
            text.push_str(&format!("{name}={value}\n"));
        }
    }
    Digest::of(text.as_bytes())
}
