//! The conversations of one proxy: a client and the server, by the name that the server gave to theirs.

use super::super::mcp::Mcp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Conversations that are remembered. One that is forgotten begins anew with its next message, and loses what was under way.
const CONVERSATIONS_MAX: usize = 1000;

/// One conversation; its two halves are heard one after the other.
pub(super) type Conversation = Arc<Mutex<Mcp>>;

/// Those that have a name.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    named: BTreeMap<String, Conversation>,
    order: VecDeque<String>,
    begun: u64,
}

impl Conversations {
    /// A conversation that nobody has a name for yet; `proxy` tells those of several proxies apart.
    pub(super) fn begin(&mut self, proxy: usize) -> Conversation {
        self.begun += 1;
        Arc::new(Mutex::new(Mcp::of(format!("mcp/{proxy}.{}", self.begun))))
    }

    /// The conversation of that name.
    pub(super) fn find(&self, name: &str) -> Option<Conversation> {
        self.named.get(name).cloned()
    }

    /// Gives a name to a conversation, which may have others.
    pub(super) fn name(&mut self, name: &str, conversation: &Conversation) {
        if self.named.insert(name.to_owned(), Arc::clone(conversation)).is_some() {
            return;
        }
        self.order.push_back(name.to_owned());
        if self.order.len() > CONVERSATIONS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.named.remove(&oldest);
        }
    }

    /// The conversation is over.
    pub(super) fn end(&mut self, name: &str) -> Option<Conversation> {
        self.order.retain(|known| known != name);
        self.named.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_found_by_name_and_the_oldest_are_forgotten() {
        let mut all = Conversations::default();
        for n in 0..=CONVERSATIONS_MAX {
            let conversation = all.begin(0);
            all.name(&n.to_string(), &conversation);
            all.name(&n.to_string(), &conversation);
        }
        assert!(all.find("0").is_none() && all.find("1").is_some());
        assert!(all.end("1").is_some() && all.end("1").is_none());
        let (first, second) = (all.begin(0), all.begin(1));
        assert_ne!(format!("{first:?}"), format!("{second:?}"));
    }
}
