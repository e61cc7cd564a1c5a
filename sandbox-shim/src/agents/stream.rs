//! Listens to the agent's standard output while passing it on unchanged.

use super::ear::Ear;
use super::{Adapter, Channel};
use crate::contract::RecordError;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

/// A line longer than this is passed on and counted as lost.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Copies `from` to `to` until it ends, and hands each whole line of JSON to the adapter.
///
/// Passing on comes first: the user's stream never waits for a record. When `to` fails, listening goes on, as a closed pipe of
/// the user's is no reason to be deaf.
///
/// # Errors
/// [`RecordError`] when something that was said could not be recorded: the agent must stop.
pub fn listen(
    mut from: impl Read,
    mut to: impl Write,
    adapter: &Mutex<Box<dyn Adapter>>,
    ear: &Ear,
) -> Result<(), RecordError> {
    let mut buffer = vec![0; 64 << 10];
    let mut line = Vec::new();
    let mut is_too_long = false;
    let mut passes_on = true;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                ear.lost(Channel::Stream, format!("the agent's standard output cannot be read: {e}"))?;
                break;
            }
        };
        let mut rest = &buffer[..read];
        passes_on = passes_on && to.write_all(rest).and_then(|()| to.flush()).is_ok();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            hear_line(&line, is_too_long, adapter, ear)?;
            line.clear();
            is_too_long = false;
        }
        if line.len() + rest.len() > LINE_BYTES_MAX {
            is_too_long = true;
            line.clear();
        } else if !is_too_long {
            line.extend_from_slice(rest);
        }
    }
    if !line.is_empty() || is_too_long { hear_line(&line, is_too_long, adapter, ear) } else { Ok(()) }
}

fn hear_line(line: &[u8], is_too_long: bool, adapter: &Mutex<Box<dyn Adapter>>, ear: &Ear) -> Result<(), RecordError> {
    if is_too_long {
        return ear.lost(Channel::Stream, format!("a line of more than {LINE_BYTES_MAX} bytes"));
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    match serde_json::from_slice::<Value>(line) {
        Ok(value) => {
            let said = adapter.lock().unwrap_or_else(PoisonError::into_inner).stream_line(&value);
            ear.hear(said, Channel::Stream)
        }
        // Agents mix plain warnings into their streams; those are not evidence.
        Err(_) if !line.starts_with(b"{") => Ok(()),
        Err(error) => ear.lost(Channel::Stream, format!("a line of {} bytes that is not JSON: {error}", line.len())),
    }
}
