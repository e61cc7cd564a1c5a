//! How far a person's answer reaches beyond the question it was given to, so that the same thing is not asked twice. Pure.
//!
//! ```text
//! this action    the same object again: host and port, access and path, command    (unless the answer says otherwise)
//! this pattern   the same host on any port, the same folder, the same program and subcommand
//! this session   the same kind of action: reach, read, write, execute, call
//! ```
//! The answer says so at the end of its reason, which is signed: `it is ours [pattern, 30m]`. A grant covers a question only
//! if it covers every name that the question's object has, a refusal if it covers one: a host name alone could lie.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wk_schemas::body::Instruction;

/// Answers that are remembered in a session.
const STANDING_MAX: usize = 64;

/// How far an answer reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The same object.
    Action,
    /// Objects like it.
    Pattern,
    /// All of its kind.
    Session,
}

/// What an answer's reason says of its reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// How far.
    pub scope: Scope,
    /// For how many microseconds; `None` for as long as answers stand.
    pub lifetime_us: Option<i64>,
}

impl Reach {
    /// Reads `… [pattern]` or `… [session, 30m]` at the end of a reason; anything else reaches the same action.
    #[must_use]
    pub fn of(reason: &str) -> Self {
        Self::read(reason).unwrap_or(Self { scope: Scope::Action, lifetime_us: None })
    }

    fn read(reason: &str) -> Option<Self> {
        let inner = reason.trim_end().strip_suffix(']')?.rsplit_once('[')?.1;
        let (scope, lifetime) = inner.split_once(',').map_or((inner, None), |(s, l)| (s, Some(l.trim())));
        let scope = match scope.trim() {
            "action" => Scope::Action,
            "pattern" => Scope::Pattern,
            "session" => Scope::Session,
            _ => return None,
        };
        let lifetime_us = match lifetime {
            None => None,
            Some(text) => {
                let (number, unit) = text.split_at(text.len().checked_sub(1)?);
                let seconds = match unit {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3600,
                    _ => return None,
                };
                Some(number.parse::<i64>().ok().filter(|n| *n >= 0)?.checked_mul(seconds)?.checked_mul(1_000_000)?)
            }
        };
        Some(Self { scope, lifetime_us })
    }
}

/// An answer that goes on standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it lets through; else it refuses.
    pub is_grant: bool,
    /// Objects, or patterns that end in `*`.
    pub covers: Vec<String>,
    /// Until then, in microseconds UTC by the clock of the source.
    pub until: i64,
    /// Who answered.
    pub approver: String,
    /// The record of the answer.
    pub record: Uuid,
}

/// A person's word that waits for a second one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// What it is for: a ticket, or `resume`.
    pub subject: String,
    /// The key that signed.
    pub key_id: String,
    /// The record of the answer.
    pub record: Uuid,
    /// When, in microseconds UTC.
    pub at: i64,
}

/// What a session keeps of people's answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Answers that stand, oldest first.
    standing: Vec<Standing>,
    /// Words that wait for a second one, oldest first.
    votes: Vec<Vote>,
}

impl Memory {
    /// An answer stands from now on.
    pub(crate) fn stand(&mut self, standing: Standing) {
        if self.standing.len() >= STANDING_MAX {
            self.standing.remove(0);
        }
        self.standing.push(standing);
    }

    /// The newest answer that stands for an object with these names at `at`; a refusal goes before a grant.
    #[must_use]
    pub(crate) fn find(&self, names: &[String], at: i64) -> Option<&Standing> {
        let fits = |s: &&Standing| at <= s.until && s.fits(names);
        let of = |is_grant: bool| self.standing.iter().rev().filter(|s| s.is_grant == is_grant).find(fits);
        let (refusal, grant) = (of(false), of(true));
        // Whoever has refused and then granted has changed their mind.
        match (refusal, grant) {
            (Some(r), Some(g)) if self.position(r) < self.position(g) => Some(g),
            (Some(r), _) => Some(r),
            (None, g) => g,
        }
    }

    fn position(&self, of: &Standing) -> Option<usize> {
        self.standing.iter().position(|s| s.record == of.record)
    }

    /// Takes note of a vote; the earlier one of another key, when there is one that is no older than `ttl_us`.
    pub(crate) fn vote(&mut self, vote: Vote, ttl_us: i64) -> Option<Vote> {
        self.votes.retain(|v| vote.at.saturating_sub(v.at) <= ttl_us);
        let other = self.votes.iter().position(|v| v.subject == vote.subject && v.key_id != vote.key_id);
        if let Some(at) = other {
            let first = self.votes.remove(at);
            self.votes.retain(|v| v.subject != vote.subject);
            return Some(first);
        }
        self.votes.retain(|v| v.subject != vote.subject);
        if self.votes.len() >= STANDING_MAX {
            self.votes.remove(0);
        }
        self.votes.push(vote);
        None
    }
}

impl Standing {
    fn fits(&self, names: &[String]) -> bool {
        let covered = |name: &String| {
            self.covers.iter().any(|c| match c.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => c == name,
            })
        };
        if self.is_grant { !names.is_empty() && names.iter().all(covered) } else { names.iter().any(covered) }
    }
}

/// What an answer about an object with these names covers.
#[must_use]
pub(crate) fn covers(scope: Scope, names: &[String]) -> Vec<String> {
    let mut out: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let (kind, object) = name.split_once(' ')?;
            Some(match scope {
                Scope::Action => name.clone(),
                Scope::Session => format!("{kind} *"),
                Scope::Pattern => format!("{kind} {}", pattern(kind, object)),
            })
        })
        .collect();
    out.dedup();
    out
}

fn pattern(kind: &str, object: &str) -> String {
    match kind {
        // A colon ends the host, so that `e.org:*` does not cover `e.org.x:443`.
        "reach" => object.rsplit_once(':').map_or_else(|| object.to_owned(), |(host, _)| format!("{host}:*")),
        "call" => {
            let words: Vec<&str> = object.split_whitespace().take(2).collect();
            // What strings several commands together is like no other.
            let is_one = !object.contains([';', '|', '&', '\n', '`', '$', '<', '>']);
            if is_one && words.len() == 2 { format!("{} *", words.join(" ")) } else { object.to_owned() }
        }
        _ => match object.rsplit_once('/') {
            Some((folder, _)) if !folder.is_empty() && !object.contains("/../") => format!("{folder}/*"),
            _ => object.to_owned(),
        },
    }
}

/// The kind of action that a question is about: reach, read, write, execute, call.
#[must_use]
pub(crate) fn kind(names: &[String]) -> &str {
    names.first().and_then(|n| n.split_once(' ')).map_or("", |(kind, _)| kind)
}

/// Whether an instruction lets something go on, and so may need a second person.
#[must_use]
pub(crate) const fn lets_go_on(instruction: Instruction) -> bool {
    matches!(instruction, Instruction::Grant | Instruction::Resume)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|n| (*n).to_owned()).collect()
    }

    fn standing(is_grant: bool, covers: Vec<String>, record: u128) -> Standing {
        Standing { is_grant, covers, until: 100, approver: "ann".into(), record: Uuid::from_u128(record) }
    }

    #[test]
    fn a_reason_says_how_far_it_reaches() {
        let of = |text: &str| (Reach::of(text).scope, Reach::of(text).lifetime_us);
        assert_eq!(of("it is ours"), (Scope::Action, None));
        assert_eq!(of("it is ours [pattern, 30m]"), (Scope::Pattern, Some(1_800_000_000)));
        assert_eq!(of("[session]"), (Scope::Session, None));
        for odd in [
            "see [1]",
            "[pattern, soon]",
            "[pattern, -5m]",
            "[session] please",
            "[pattern, 99999999999999999h]",
            "[pattern,]",
        ] {
            assert_eq!(of(odd), (Scope::Action, None), "{odd}");
        }
    }

    #[test]
    fn a_scope_covers_what_it_says_and_no_more() {
        let host = names(&["reach api.e.org:443", "reach 192.0.2.7:443"]);
        let fits =
            |scope, of: &[String], question: &[&str]| standing(true, covers(scope, of), 1).fits(&names(question));
        assert!(fits(Scope::Action, &host, &["reach api.e.org:443", "reach 192.0.2.7:443"]));
        assert!(!fits(Scope::Action, &host, &["reach api.e.org:80", "reach 192.0.2.7:80"]));
        assert!(fits(Scope::Pattern, &host, &["reach api.e.org:80", "reach 192.0.2.7:80"]));
        assert!(
            !fits(Scope::Pattern, &host, &["reach api.e.org:443", "reach 203.0.113.9:443"]),
            "a name alone could lie"
        );
        assert!(!fits(Scope::Pattern, &host, &["reach api.e.org.x.com:443"]));
        assert!(fits(Scope::Session, &host, &["reach 203.0.113.9:1"]));
        assert!(!fits(Scope::Session, &host, &["read /etc/passwd"]) && !fits(Scope::Session, &host, &[]));
        let path = names(&["read /home/a/data/x.csv"]);
        assert!(fits(Scope::Pattern, &path, &["read /home/a/data/y.csv"]));
        assert!(!fits(Scope::Pattern, &path, &["write /home/a/data/y.csv"]));
        assert!(!fits(Scope::Pattern, &path, &["read /home/a/database"]));
        let call = names(&["call git push origin main"]);
        assert!(fits(Scope::Pattern, &call, &["call git push origin next"]));
        assert!(!fits(Scope::Pattern, &call, &["call git pushy"]));
        let chained = names(&["call git status; rm -rf /"]);
        assert!(!fits(Scope::Pattern, &chained, &["call git status"]));
    }

    #[test]
    fn a_refusal_goes_before_a_grant_unless_it_was_taken_back() {
        let object = names(&["reach e.org:443"]);
        let mut memory = Memory::default();
        memory.stand(standing(true, names(&["reach *"]), 1));
        assert!(memory.find(&object, 100).unwrap().is_grant && memory.find(&object, 101).is_none());
        memory.stand(standing(false, object.clone(), 2));
        assert!(!memory.find(&object, 5).unwrap().is_grant);
        memory.stand(standing(true, object.clone(), 3));
        assert!(memory.find(&object, 5).unwrap().is_grant);
    }

    #[test]
    fn one_person_is_not_two() {
        let vote = |key: &str, at| Vote { subject: "t".into(), key_id: key.into(), record: Uuid::nil(), at };
        let mut memory = Memory::default();
        assert!(memory.vote(vote("a", 0), 50).is_none() && memory.vote(vote("a", 10), 50).is_none());
        assert_eq!(memory.vote(vote("b", 20), 50).map(|v| v.key_id), Some("a".to_owned()));
        assert!(memory.vote(vote("b", 21), 50).is_none(), "the votes are spent");
        assert!(memory.vote(vote("a", 99), 50).is_none(), "the other one is too old");
    }
}
