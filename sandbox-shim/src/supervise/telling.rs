//! Tells why something was refused, whoever can be told: the agent's programs see a bare "permission denied".

use crate::lock::lock;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use wk_schemas::body::Outcome;
use wk_schemas::{Body, RecordId};

type Tell = dyn Fn(Option<&str>, &str) + Send + Sync;

/// Takes a line, and the tool call that it is about when there is one.
#[derive(Clone)]
pub struct Teller(Arc<Tell>);

impl Teller {
    /// One that does this with each line.
    #[must_use]
    pub fn new(tell: impl Fn(Option<&str>, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

/// Says each reason once for each tool call.
#[derive(Debug)]
pub(super) struct Telling {
    teller: Teller,
    said: Mutex<BTreeSet<(Option<String>, String)>>,
}

/// Reasons that are remembered as said; when there are more, all are forgotten and may be said once again.
const SAID_MAX: usize = 10_000;

/// Something that was refused: what, and the rule with its reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    call: Option<String>,
    what: String,
    reason: String,
}

impl Telling {
    pub(super) fn new(teller: Teller) -> Self {
        Self { teller, said: Mutex::default() }
    }

    /// Says it, when no earlier refusal in the same call had the same reason.
    pub(super) fn tell(&self, refused: Refused, record: RecordId) {
        let Refused { call, what, reason } = refused;
        let line = format!("watchkeeper: refused {what}: {reason} (ticket {})", record.0);
        let is_new = {
            let mut said = lock(&self.said);
            if said.len() >= SAID_MAX {
                said.clear();
            }
            said.insert((call.clone(), reason))
        };
        if is_new {
            (self.teller.0)(call.as_deref(), &line);
        }
    }
}

/// What a record says of a refusal that has a reason of the policy's or of a person's.
pub(super) fn refused(body: &Body) -> Option<Refused> {
    let (actor, outcome, what, reason) = match body {
        Body::FileAccessed(body) => (&body.actor, body.outcome, &body.path, &body.reason),
        Body::ProcessStarted(body) => (&body.actor, body.outcome, &body.actor.image, &body.reason),
        Body::ConnectionAttempted(body) => {
            (&body.actor, body.outcome, body.host_name.as_ref().unwrap_or(&body.address), &body.reason)
        }
        _ => return None,
    };
    if outcome != Outcome::Denied {
        return None;
    }
    // What a file is called is the agent's choice, and must not move the cursor of the terminal it is shown on.
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let call = actor.tool_call_id.clone();
    reason.as_ref().map(|reason| Refused { call, what: plain(what), reason: plain(reason) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_for_each_call() {
        type Line = (Option<String>, String);
        let said = Arc::<Mutex<Vec<Line>>>::default();
        let telling = Telling::new({
            let said = Arc::clone(&said);
            Teller::new(move |call, line| said.lock().unwrap().push((call.map(str::to_owned), line.to_owned())))
        });
        let id = RecordId(uuid::Uuid::nil());
        for (call, what, reason) in
            [(None, "/a", "keys"), (None, "/b", "keys"), (None, "/c", "work"), (Some("t"), "/a", "keys")]
        {
            telling.tell(Refused { call: call.map(str::to_owned), what: what.into(), reason: reason.into() }, id);
        }
        let line = |what, reason| format!("watchkeeper: refused {what}: {reason} (ticket {})", uuid::Uuid::nil());
        let call = Some("t".to_owned());
        assert_eq!(
            *said.lock().unwrap(),
            [(None, line("/a", "keys")), (None, line("/c", "work")), (call, line("/a", "keys"))]
        );
    }
}
