//! Slack's incoming webhooks: one text, and the particulars below it.

use super::alert::Alert;
use serde_json::{Value, json};

/// The body. What the agent wrote is escaped, so it can neither link nor call anybody.
pub(super) fn body(alert: &Alert) -> Value {
    let (title, said) = (escaped(&alert.title), escaped(&alert.description));
    let agent = alert.agent.as_deref().unwrap_or("agent");
    let context = format!(
        "{} · {} · session {} · {} on {} · {}",
        alert.level,
        alert.step,
        alert.session_id,
        escaped(agent),
        escaped(&alert.host),
        alert.id
    );
    json!({
        "text": format!("{title}: {said}"),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": format!("*{title}*\n{said}")}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": context}]},
        ],
    })
}

/// `&`, `<` and `>` are all that Slack's own format gives a meaning to that matters; marks of style are broken up.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['`', '*', '_', '~'], "'")
}

#[cfg(test)]
mod tests {
    use super::super::alert::tests::alert;
    use super::*;

    #[test]
    fn what_an_agent_wrote_calls_nobody() {
        let body = body(&Alert { description: "<!channel> *now* <https://x.org|click>".into(), ..alert() });
        assert_eq!(body["text"], "SecretReadThenEgress: &lt;!channel&gt; 'now' &lt;https://x.org|click&gt;");
        assert!(body["blocks"][1]["elements"][0]["text"].as_str().unwrap().contains("session s1"));
    }
}
