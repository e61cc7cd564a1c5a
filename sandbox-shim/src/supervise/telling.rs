//! Tells whoever sits at the agent's terminal why something was refused: the agent's programs see a bare "permission denied".

use super::core::lock;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use wk_schemas::body::Outcome;
use wk_schemas::{Body, RecordId};

/// Takes a line for the terminal.
#[derive(Clone)]
pub struct Teller(Arc<dyn Fn(&str) + Send + Sync>);

impl Teller {
    /// One that does this with each line.
    #[must_use]
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

/// Says each reason once.
#[derive(Debug)]
pub(super) struct Telling {
    teller: Teller,
    said: Mutex<BTreeSet<String>>,
}

/// Something that was refused: what, and the rule with its reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    what: String,
    reason: String,
}

impl Telling {
    pub(super) fn new(teller: Teller) -> Self {
        Self { teller, said: Mutex::default() }
    }

    /// Says it, when no earlier refusal had the same reason.
    pub(super) fn tell(&self, refused: Refused, record: RecordId) {
        let Refused { what, reason } = refused;
        let line = format!("watchkeeper: refused {what}: {reason} (ticket {})", record.0);
        if lock(&self.said).insert(reason) {
            (self.teller.0)(&line);
        }
    }
}

/// What a record says of a refusal that has a reason of the policy's or of a person's.
pub(super) fn refused(body: &Body) -> Option<Refused> {
    let (outcome, what, reason) = match body {
        Body::FileAccessed(body) => (body.outcome, &body.path, &body.reason),
        Body::ProcessStarted(body) => (body.outcome, &body.actor.image, &body.reason),
        Body::ConnectionAttempted(body) => {
            (body.outcome, body.host_name.as_ref().unwrap_or(&body.address), &body.reason)
        }
        _ => return None,
    };
    if outcome != Outcome::Denied {
        return None;
    }
    // What a file is called is the agent's choice, and must not move the cursor of the terminal it is shown on.
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    reason.as_ref().map(|reason| Refused { what: plain(what), reason: plain(reason) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once() {
        let said = Arc::<Mutex<Vec<String>>>::default();
        let telling = Telling::new({
            let said = Arc::clone(&said);
            Teller::new(move |line| said.lock().unwrap().push(line.to_owned()))
        });
        let id = RecordId(uuid::Uuid::nil());
        for (what, reason) in [("/a", "keys"), ("/b", "keys"), ("/c", "work")] {
            telling.tell(Refused { what: what.into(), reason: reason.into() }, id);
        }
        let line = |what, reason| format!("watchkeeper: refused {what}: {reason} (ticket {})", uuid::Uuid::nil());
        assert_eq!(*said.lock().unwrap(), [line("/a", "keys"), line("/c", "work")]);
    }
}
