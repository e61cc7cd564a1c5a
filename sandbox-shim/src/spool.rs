//! The spool: where a record is from the moment it counts as taken until it is in the outbox's database.
//!
//! A spool is a folder of segments that are only appended to. One append is one `write(2)`: it survives `kill -9` of the
//! shim at once, because the bytes are with the kernel, and a loss of power as soon as the outbox has moved them into its
//! database (see `docs/0001-outbox.md`). Order and completeness are not the spool's business: the records carry them.
//!
//! ```text
//! segment  spool-0000000007   entry entry entry …
//! entry    length u32 LE | first 8 bytes of SHA-256 of the datum | datum
//! ```
//! An entry that is cut short or does not match its digest can only be the last one of a segment, written while the power
//! went; reading stops there and says how many bytes it left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use wk_schemas::Digest;

const PREFIX: &str = "spool-";
const HEAD_BYTES: usize = 12;

/// A file that holds room on the disk for the last words of a session whose disk is full.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: usize = 256 << 10;

/// The open spool of one session.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    number: u64,
    active: File,
    bytes: u64,
    buffer: Vec<u8>,
}

/// What a spool held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The data of all whole entries, oldest first.
    pub(crate) data: Vec<Vec<u8>>,
    /// Bytes behind the last whole entry of a segment: a write that the power cut.
    pub(crate) torn_bytes: u64,
    /// The segments that were read; to be removed once their data are safe elsewhere.
    pub(crate) segments: Vec<PathBuf>,
}

impl Spool {
    /// Reads what is in the folder and opens a new segment behind it.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, Found)> {
        let found = read(folder)?;
        let number = found.segments.iter().filter_map(|p| number_of(p)).max().unwrap_or(0) + 1;
        let active = create(folder, number)?;
        fs::write(folder.join(RESERVE), vec![0; RESERVE_BYTES])?;
        Ok((Self { folder: folder.to_owned(), number, active, bytes: 0, buffer: Vec::new() }, found))
    }

    /// Appends one datum with one write; on an error the segment is as it was before.
    pub(crate) fn append(&mut self, datum: &[u8], digest: Digest) -> io::Result<()> {
        let length = u32::try_from(datum.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&digest.0[..8]);
        self.buffer.extend_from_slice(datum);
        if let Err(error) = self.active.write_all(&self.buffer) {
            // A disk that fills up takes a part of the entry; the part must not stand before a later one.
            self.active.set_len(self.bytes)?;
            self.active.seek(SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        self.bytes += self.buffer.len() as u64;
        Ok(())
    }

    /// Gives the room that was held back to the disk.
    pub(crate) fn release_reserve(&self) {
        // When it is gone already, there is nothing more to give.
        drop(fs::remove_file(self.folder.join(RESERVE)));
    }

    /// Bytes in the active segment.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Starts a new segment and returns the path of the one before, which is complete.
    pub(crate) fn rotate(&mut self) -> io::Result<PathBuf> {
        let next = create(&self.folder, self.number + 1)?;
        let before = path_of(&self.folder, self.number);
        self.number += 1;
        self.active = next;
        self.bytes = 0;
        Ok(before)
    }
}

/// Reads all whole entries of all segments in the folder.
pub(crate) fn read(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if number_of(&path).is_some() {
            found.segments.push(path);
        }
    }
    found.segments.sort();
    for segment in &found.segments {
        let mut bytes = Vec::new();
        File::open(segment)?.read_to_end(&mut bytes)?;
        let rest = split(&bytes, &mut found.data);
        found.torn_bytes += rest as u64;
    }
    Ok(found)
}

/// Takes the whole entries off `bytes`; returns how many bytes are left behind them.
fn split(mut bytes: &[u8], data: &mut Vec<Vec<u8>>) -> usize {
    while let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) {
        let (length, digest) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().expect("the slice has four bytes")) as usize;
        let Some((datum, rest)) = rest.split_at_checked(length) else { break };
        if Digest::of(datum).0[..8] != *digest {
            break;
        }
        data.push(datum.to_vec());
        bytes = rest;
    }
    bytes.len()
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path_of(folder, number))
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number:010}"))
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(spool: &mut Spool, text: &str) {
        spool.append(text.as_bytes(), Digest::of(text.as_bytes())).unwrap();
    }

    #[test]
    fn what_was_appended_is_read_back_in_order_across_segments() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, found) = Spool::open(folder.path()).unwrap();
        assert!(found.data.is_empty());
        append(&mut spool, "one");
        append(&mut spool, "two");
        spool.rotate().unwrap();
        append(&mut spool, "three");
        drop(spool);
        let (_, found) = Spool::open(folder.path()).unwrap();
        assert_eq!(found.data, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert_eq!(found.torn_bytes, 0);
    }

    #[test]
    fn an_entry_cut_at_any_byte_hides_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path()).unwrap();
        append(&mut spool, "whole");
        append(&mut spool, "cut short");
        let path = path_of(folder.path(), 1);
        let bytes = fs::read(&path).unwrap();
        let whole = HEAD_BYTES + 5;
        for end in whole..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let found = read(folder.path()).unwrap();
            assert_eq!(found.data, [b"whole".to_vec()], "cut at {end}");
            assert_eq!(found.torn_bytes, (end - whole) as u64);
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(read(folder.path()).unwrap().data, [b"whole".to_vec()]);
    }
}
