//! The words in the margin of a timeline, and their colours.

use std::fmt;

/// What a person should not overlook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    Unmediated,
    Held,
    Denied,
    Granted,
    Finding,
    Frozen,
    Resumed,
    Killed,
    Gap,
}

impl Mark {
    const fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Unmediated => "UNMEDIATED",
            Self::Held => "HELD",
            Self::Denied => "DENIED",
            Self::Granted => "GRANTED",
            Self::Finding => "FINDING",
            Self::Frozen => "FROZEN",
            Self::Resumed => "RESUMED",
            Self::Killed => "KILLED",
            Self::Gap => "GAP",
        }
    }

    /// The terminal's code for its colour: red stops, yellow is to be looked at, green goes on.
    const fn colour(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Unmediated | Self::Held | Self::Gap => Some("33"),
            Self::Denied | Self::Finding | Self::Frozen | Self::Killed => Some("1;31"),
            Self::Granted | Self::Resumed => Some("32"),
        }
    }
}

/// A mark in a margin of fixed width.
pub(super) struct Margin {
    pub(super) mark: Mark,
    pub(super) colours: bool,
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.mark.word();
        match self.mark.colour() {
            Some(colour) if self.colours => write!(f, "\u{1b}[{colour}m{word:<10}\u{1b}[0m"),
            _ => write!(f, "{word:<10}"),
        }
    }
}
