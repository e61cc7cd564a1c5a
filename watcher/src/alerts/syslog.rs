//! RFC 5424 messages with structured data, framed by their length (RFC 5425 over TLS, RFC 6587 over TCP).

use super::alert::{Alert, rfc3339};

/// Facility 13, log audit.
const FACILITY: u8 = 13;
/// 32473 is the number that RFC 5612 reserves for examples: we have no enterprise number of our own.
const ELEMENT: &str = "watchkeeper@32473";

/// One message without its frame. `severity` is syslog's, 0 to 7.
pub(super) fn message(alert: &Alert, severity: u8) -> String {
    let priority = FACILITY * 8 + severity;
    let mut data = format!("[{ELEMENT}");
    let score = alert.score.map(|s| s.to_string());
    let fields = [
        ("id", Some(alert.id.as_str())),
        ("session", Some(&alert.session_id)),
        ("tenant", Some(&alert.tenant)),
        ("agent", alert.agent.as_deref()),
        ("principal", alert.principal.as_deref()),
        ("source", Some(&alert.source)),
        ("rule", Some(&alert.rule_id)),
        ("level", Some(&alert.level)),
        ("step", Some(&alert.step)),
        ("score", score.as_deref()),
        ("tags", Some(&alert.tags.join(" "))),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            data.push_str(&format!(" {name}=\"{}\"", parameter(value)));
        }
    }
    data.push(']');
    let (time, host, title) = (rfc3339(alert.occurred_at_us), name(&alert.host, 255), name(&alert.title, 32));
    // The text is UTF-8 and says so by its mark; a line break would begin a new message for careless readers.
    let said = alert.description.replace(['\n', '\r'], " ");
    format!("<{priority}>1 {time} {host} watchkeeper - {title} {data} \u{feff}{}: {said}", alert.title)
}

/// A message in its frame.
pub(super) fn framed(message: &str) -> Vec<u8> {
    format!("{} {message}", message.len()).into_bytes()
}

/// A header field: printable ASCII without blanks.
fn name(text: &str, most: usize) -> String {
    let printable: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if printable.is_empty() { "-".to_owned() } else { printable }
}

/// A parameter's value: `"`, `\` and `]` are escaped.
fn parameter(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::alert::tests::alert;
    use super::*;

    #[test]
    fn a_message_is_one_line_with_escaped_data() {
        let alert = Alert { tenant: "a\"b]c\\d".into(), ..alert() };
        let message = message(&alert, 3);
        assert!(message.starts_with("<107>1 2026-11-21T03:00:00.000001Z build7 watchkeeper - SecretReadThenEgress ["));
        assert!(message.contains(" tenant=\"a\\\"b\\]c\\\\d\""), "{message}");
        assert!(!message.contains('\n'));
        let framed = framed(&message);
        assert!(framed.starts_with(format!("{} <107>1 ", message.len()).as_bytes()));
    }
}
