//! The topics of the log. The key of every message is its session id: a session's records share a partition and stay in order.

/// A topic of the log. All carry `watchkeeper.v1.AuditRecord`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What was seen; written by the shim.
    Events,
    /// What a rule or a judge noticed, with its evidence; written by the watcher.
    Findings,
    /// Signed instructions to the shim; written by the watcher.
    Commands,
    /// Who decided what, and why; written by people through the console or the CLI.
    Approvals,
    /// Bytes that could not be read, with offset and reason; written by ingest and the watcher.
    DeadLetters,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 5] = [Self::Events, Self::Findings, Self::Commands, Self::Approvals, Self::DeadLetters];

    /// The topic's name on the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "agent.session.events.v1",
            Self::Findings => "agent.session.findings.v1",
            Self::Commands => "agent.session.commands.v1",
            Self::Approvals => "agent.session.approvals.v1",
            Self::DeadLetters => "agent.session.dead-letters.v1",
        }
    }

    /// The topic of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// The registry's subject for the topic's values.
    #[must_use]
    pub fn subject(self) -> String {
        format!("{}-value", self.name())
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
