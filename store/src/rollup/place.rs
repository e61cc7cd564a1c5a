//! The parts of a roll-up, and where in a file they are.
//!
//! ```text
//! 1 sessions=81234+2077 hosts=83311+1630 paths=- images=84941+0
//! version of the form; first byte and length of each; `-` was too large to be kept; nothing of the kind is in the file: length 0
//! ```

use super::{first_seen, sessions};
use arrow::datatypes::SchemaRef;
use std::fmt;
use std::ops::Range;

/// The version of the form of roll-ups that this program writes and reads.
const FORM: &str = "1";

/// A part of a file's roll-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A row for each session.
    Sessions,
    /// A row for each remote host that was reached for.
    Hosts,
    /// A row for each path that was touched.
    Paths,
    /// A row for each program that was executed.
    Images,
}

impl Part {
    /// Every part, in the order in which they lie in a file.
    pub const ALL: [Self; 4] = [Self::Sessions, Self::Hosts, Self::Paths, Self::Images];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Hosts => "hosts",
            Self::Paths => "paths",
            Self::Images => "images",
        }
    }

    /// Its columns. The first two, the tenant and the session or value, tell its rows apart.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Sessions => sessions::schema(),
            Self::Hosts | Self::Paths | Self::Images => first_seen::schema(),
        }
    }
}

/// Where in a file each part is, as it is written in the file and in the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    text: String,
    /// `None` for a text that this program does not understand.
    parts: Option<[Option<Range<u64>>; 4]>,
}

impl Places {
    pub(super) fn new(parts: [Option<Range<u64>>; 4]) -> Self {
        let mut text = FORM.to_owned();
        for (part, place) in Part::ALL.iter().zip(&parts) {
            text += &match place {
                Some(Range { start, end }) => format!(" {}={start}+{}", part.name(), end - start),
                None => format!(" {}=-", part.name()),
            };
        }
        Self { text, parts: Some(parts) }
    }

    /// Reads what a file or a commit says.
    pub(crate) fn read(text: &str) -> Self {
        Self { text: text.to_owned(), parts: parse(text) }
    }

    /// The bytes of a part; `None` when it is not kept, or not in a form that this program understands: then the file's records have to be asked.
    #[must_use]
    pub fn of(&self, part: Part) -> Option<&Range<u64>> {
        self.parts.as_ref()?[part as usize].as_ref()
    }

    /// Whether this program can read what is there.
    pub(crate) const fn is_understood(&self) -> bool {
        self.parts.is_some()
    }

    /// Whether it is of another form, which a newer program may have written.
    pub(crate) fn is_newer(&self) -> bool {
        self.text.split_once(' ').is_some_and(|(form, _)| form != FORM && form.parse::<u32>().is_ok())
    }
}

fn parse(text: &str) -> Option<[Option<Range<u64>>; 4]> {
    let mut words = text.split(' ');
    if words.next() != Some(FORM) {
        return None;
    }
    let mut parts = [const { None }; 4];
    for (part, place) in Part::ALL.into_iter().zip(&mut parts) {
        let said = words.next()?.strip_prefix(part.name())?.strip_prefix('=')?;
        if said != "-" {
            let (at, length) = said.split_once('+')?;
            let (at, length): (u64, u64) = (at.parse().ok()?, length.parse().ok()?);
            *place = Some(at..at.checked_add(length)?);
        }
    }
    words.next().is_none().then_some(parts)
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let places = Places::new([Some(10..30), None, Some(30..30), Some(30..31)]);
        let text = places.to_string();
        assert_eq!(text, "1 sessions=10+20 hosts=- paths=30+0 images=30+1");
        assert_eq!(Places::read(&text), places);
        for other in [
            "",
            "1",
            "2 sessions=10+20 hosts=- paths=30+0 images=30+1",
            "1 hosts=- sessions=10+20 paths=30+0 images=30+1",
            "1 sessions=10+20 hosts=- paths=30+0",
            "1 sessions=10+20 hosts=- paths=30+0 images=30+1 more=-",
            "1 sessions=10+18446744073709551615 hosts=- paths=30+0 images=30+1",
            "1 sessions=10 hosts=- paths=30+0 images=30+1",
        ] {
            let places = Places::read(other);
            assert!(!places.is_understood() && places.of(Part::Images).is_none(), "{other}");
            assert_eq!(places.is_newer(), other.starts_with('2'), "{other}");
        }
    }
}
