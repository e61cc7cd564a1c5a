//! The spool: a session's records on disk, from the moment they count as taken until the log has them.
//!
//! A spool is a folder of segments that are only appended to, and removed whole once the log has all that is in them. One append
//! is one `write(2)`: it survives `kill -9` of the shim at once, because the bytes are with the kernel, and a loss of power as soon
//! as the files that [`Spool::unsynced`] names have been synced (see `docs/0001-outbox.md`).
//!
//! ```text
//! segment  spool-0000000007   entry entry entry …      the records of a segment follow each other without a gap
//! entry    length u32 LE | first 8 bytes of SHA-256 of the datum | datum
//! ```
//! An entry that is cut short or does not match its digest was written while the power went; reading a segment stops there and
//! says how many bytes it left.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wk_schemas::{Digest, codec};

const PREFIX: &str = "spool-";
const HEAD_BYTES: usize = 12;

/// A segment that has grown to this is closed: what the log has had is given back to the disk in pieces of this size.
const SEGMENT_BYTES: u64 = 1 << 20;

/// How much is read at a time.
const READ_BYTES: usize = 128 << 10;

/// A file that holds room on the disk for the last words of a session whose disk is full.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: usize = 256 << 10;

/// A record as encoded, with its seq.
pub(crate) type Numbered = (i64, Arc<[u8]>);

/// One file of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    number: u64,
    /// The seq of its first record, and the one behind its last. Equal when it is empty.
    first_seq: i64,
    end_seq: i64,
    /// Length of all whole entries.
    bytes: u64,
}

/// The open spool of one session.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    /// Oldest first. The last one is written to.
    segments: VecDeque<Segment>,
    active: Arc<File>,
    /// Files in which something may not be on the disk yet.
    unsynced: Vec<(u64, Arc<File>)>,
    /// Whether a file has come into the folder since the last look at `unsynced`.
    has_new_name: bool,
    buffer: Vec<u8>,
}

/// What a spool held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The last record in it.
    pub(crate) last: Option<Vec<u8>>,
    /// Records and their bytes, from the asked seq on.
    pub(crate) records: u64,
    /// See `records`.
    pub(crate) bytes: u64,
    /// Bytes behind the last whole entry of a segment: a write that the power cut.
    pub(crate) torn_bytes: u64,
}

impl Spool {
    /// Reads what is in the folder, counts what lies at or behind `from`, and opens a new segment behind it.
    pub(crate) fn open(folder: &Path, from: i64) -> io::Result<(Self, Found)> {
        let mut found = Found::default();
        let mut segments = VecDeque::new();
        let mut number = 0;
        for path in paths(folder)? {
            number = number_of(&path).unwrap_or(number);
            // What an earlier version wrote twice counts once.
            let from = segments.back().map_or(from, |s: &Segment| s.end_seq.max(from));
            let segment = scan(&path, number, from, &mut found)?;
            if segment.end_seq > segment.first_seq {
                segments.push_back(segment);
            } else {
                fs::remove_file(&path)?;
            }
        }
        fs::write(folder.join(RESERVE), vec![0; RESERVE_BYTES])?;
        let active = Arc::new(create(folder, number + 1)?);
        let unsynced = vec![(number + 1, Arc::clone(&active))];
        let first_seq = segments.back().map_or(from, |s| s.end_seq.max(from));
        segments.push_back(Segment { number: number + 1, first_seq, end_seq: first_seq, bytes: 0 });
        Ok((
            Self { folder: folder.to_owned(), segments, active, unsynced, has_new_name: true, buffer: Vec::new() },
            found,
        ))
    }

    /// Appends the record `seq` with one write; on an error the segment is as it was before.
    pub(crate) fn append(&mut self, seq: i64, datum: &[u8], digest: Digest) -> io::Result<()> {
        self.buffer.clear();
        push_entry(&mut self.buffer, datum, digest)?;
        if self.last().bytes >= SEGMENT_BYTES {
            self.rotate(seq)?;
        }
        let bytes = self.last().bytes;
        if let Err(error) = (&*self.active).write_all(&self.buffer) {
            // A disk that fills up takes a part of the entry; the part must not stand before a later one.
            self.active.set_len(bytes)?;
            (&*self.active).seek(SeekFrom::Start(bytes))?;
            return Err(error);
        }
        let written = self.buffer.len() as u64;
        let last = self.segments.back_mut().expect("there is always a segment that is written to");
        if last.bytes == 0 {
            last.first_seq = seq;
        }
        last.end_seq = seq + 1;
        last.bytes += written;
        Ok(())
    }

    fn last(&self) -> &Segment {
        self.segments.back().expect("there is always a segment that is written to")
    }

    fn rotate(&mut self, seq: i64) -> io::Result<()> {
        let number = self.last().number + 1;
        self.active = Arc::new(create(&self.folder, number)?);
        self.unsynced.push((number, Arc::clone(&self.active)));
        self.has_new_name = true;
        self.segments.push_back(Segment { number, first_seq: seq, end_seq: seq, bytes: 0 });
        Ok(())
    }

    /// Gives the room that was held back to the disk.
    pub(crate) fn release_reserve(&self) {
        // When it is gone already, there is nothing more to give.
        drop(fs::remove_file(self.folder.join(RESERVE)));
    }

    /// The files that have to be synced so that everything appended so far survives a loss of power. They count as synced from
    /// now on; whoever fails to sync them has to stop.
    pub(crate) fn unsynced(&mut self) -> Unsynced {
        let active = self.last().number;
        let files = self.unsynced.iter().map(|(_, file)| Arc::clone(file)).collect();
        self.unsynced.retain(|(number, _)| *number == active);
        let folder = std::mem::take(&mut self.has_new_name).then(|| self.folder.clone());
        Unsynced { files, folder }
    }

    /// Takes out the segments whose records all lie before `seq`; their files are to be removed. The one that is written to stays.
    pub(crate) fn take_before(&mut self, seq: i64) -> Vec<PathBuf> {
        let mut over = Vec::new();
        while self.segments.len() > 1 && self.segments[0].end_seq <= seq {
            let segment = self.segments.pop_front().expect("there is more than one");
            self.unsynced.retain(|(number, _)| *number != segment.number);
            over.push(path_of(&self.folder, segment.number));
        }
        over
    }

    /// The segment in which `seq` lies, or the next one behind it.
    pub(crate) fn segment_of(&self, seq: i64) -> Option<Segment> {
        self.segments.iter().find(|s| s.end_seq > seq).cloned()
    }
}

/// What is to be synced; see [`Spool::unsynced`].
#[derive(Debug)]
pub(crate) struct Unsynced {
    files: Vec<Arc<File>>,
    /// Where a name is new.
    folder: Option<PathBuf>,
}

impl Unsynced {
    /// Returns once everything is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        for file in &self.files {
            file.sync_data()?;
        }
        match &self.folder {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Reads records in order; remembers where it stopped.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    open: Option<(u64, File)>,
    /// The record that begins at `at`.
    seq: i64,
    at: u64,
    buffer: Vec<u8>,
}

impl Reader {
    /// Appends to `out` at most `max` records of `segment` from `seq` on.
    pub(crate) fn read(
        &mut self,
        folder: &Path,
        segment: &Segment,
        seq: i64,
        max: usize,
        out: &mut Vec<Numbered>,
    ) -> io::Result<()> {
        let (file, goes_on) = match self.open.take() {
            Some((number, file)) if number == segment.number => (file, self.seq <= seq),
            _ => (File::open(path_of(folder, segment.number))?, false),
        };
        if !goes_on {
            (self.seq, self.at) = (segment.first_seq, 0);
        }
        let mut want = READ_BYTES;
        let mut left = max;
        while left > 0 && self.at < segment.bytes {
            let whole = usize::try_from(segment.bytes - self.at).unwrap_or(usize::MAX);
            self.buffer.resize(want.min(whole), 0);
            file.read_exact_at(&mut self.buffer, self.at)?;
            let mut rest = self.buffer.as_slice();
            while left > 0
                && let Some((_, datum, behind)) = entry(rest)
            {
                self.at += (rest.len() - behind.len()) as u64;
                rest = behind;
                if self.seq >= seq {
                    out.push((self.seq, datum.into()));
                    left -= 1;
                }
                self.seq += 1;
            }
            if rest.len() == self.buffer.len() {
                if want >= whole {
                    // What was appended whole is not whole any more.
                    return Err(io::ErrorKind::InvalidData.into());
                }
                // An entry that is longer than what was read.
                want = want.saturating_mul(2);
            }
        }
        self.buffer.truncate(READ_BYTES);
        self.buffer.shrink_to(READ_BYTES);
        self.open = Some((segment.number, file));
        Ok(())
    }
}

/// Writes a segment before all others and returns once it is on the disk; one that was there is replaced.
pub(crate) fn write_first<'a>(folder: &Path, data: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for datum in data {
        push_entry(&mut bytes, datum, Digest::of(datum))?;
    }
    let mut file = File::create(path_of(folder, 0))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// The last whole record in the folder.
pub(crate) fn last_in(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    for path in paths(folder)?.iter().rev() {
        let mut found = Found::default();
        scan(path, 0, 0, &mut found)?;
        if found.last.is_some() {
            return Ok(found.last);
        }
    }
    Ok(None)
}

fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if number_of(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads a segment and checks it.
fn scan(path: &Path, number: u64, from: i64, found: &mut Found) -> io::Result<Segment> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let mut segment = Segment { number, first_seq: 0, end_seq: 0, bytes: 0 };
    let mut rest = bytes.as_slice();
    while let Some((check, datum, behind)) = entry(rest) {
        if Digest::of(datum).0[..8] != *check {
            break;
        }
        let Ok(view) = codec::walk(datum) else { return Err(io::ErrorKind::InvalidData.into()) };
        if segment.bytes == 0 {
            segment.first_seq = view.seq;
        } else if view.seq != segment.end_seq {
            return Err(io::ErrorKind::InvalidData.into());
        }
        segment.end_seq = view.seq + 1;
        segment.bytes += (rest.len() - behind.len()) as u64;
        if view.seq >= from {
            found.records += 1;
            found.bytes += datum.len() as u64;
        }
        found.last = Some(datum.to_vec());
        rest = behind;
    }
    found.torn_bytes += rest.len() as u64;
    Ok(segment)
}

fn push_entry(out: &mut Vec<u8>, datum: &[u8], digest: Digest) -> io::Result<()> {
    let length = u32::try_from(datum.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&digest.0[..8]);
    out.extend_from_slice(datum);
    Ok(())
}

/// Takes one entry off: what its digest begins with, its datum, and what lies behind it.
fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let (length, check) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("the slice has four bytes")) as usize;
    let (datum, rest) = rest.split_at_checked(length)?;
    Some((check, datum, rest))
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
    use wk_schemas::body::SessionResumed;
    use wk_schemas::{Chain, Header, Origin, RecordId, SessionId, Timestamp};

    /// A record whose text is `text`, as the next of `chain`.
    fn append(spool: &mut Spool, chain: &mut Chain, text: &str) -> Vec<u8> {
        let header = Header {
            record_id: RecordId(crate::clock::new_id()),
            session_id: SessionId::parse("s").unwrap(),
            writer: "shim".into(),
            seq: 0,
            prev_digest: Digest::ZERO,
            occurred_at: Timestamp(1),
            origin: Origin::Shim,
            caused_by: Vec::new(),
            tenant: "default".into(),
            host: "here".into(),
            agent_name: None,
            agent_version: None,
            agent_model: None,
            principal: None,
            policy_digest: None,
        };
        let seq = chain.next_seq;
        let (_, datum) =
            chain.seal(header, SessionResumed { command_id: None, took_us: 0, reason: text.into() }.into());
        spool.append(seq, &datum, chain.last).unwrap();
        datum
    }

    fn all(spool: &Spool, folder: &Path, from: i64, step: usize) -> Vec<Numbered> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        let mut seq = from;
        while let Some(segment) = spool.segment_of(seq) {
            let before = out.len();
            reader.read(folder, &segment, seq, step, &mut out).unwrap();
            assert!(out.len() > before);
            seq = out.last().map_or(seq, |(seq, _)| seq + 1);
        }
        out
    }

    #[test]
    fn what_was_appended_is_read_back_in_order_across_segments_and_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = Chain::default();
        let mut written = Vec::new();
        for _ in 0..3 {
            let (mut spool, found) = Spool::open(folder.path(), 0).unwrap();
            assert_eq!((found.records, found.last), (written.len() as u64, written.last().cloned()));
            // Some entries are longer than what is read at once, and all together more than a segment.
            for length in [10, 300_000, 1, 900_000, 20] {
                written.push(append(&mut spool, &mut chain, &"x".repeat(length)));
            }
            for step in [1, 2, 100] {
                for from in [0, 3] {
                    let read = all(&spool, folder.path(), from, step);
                    let expected: Vec<Numbered> = (from..)
                        .zip(written.iter().skip(usize::try_from(from).unwrap()).map(|d| d.as_slice().into()))
                        .collect();
                    assert_eq!(read, expected);
                }
            }
        }
        assert_eq!(last_in(folder.path()).unwrap(), written.last().cloned());
    }

    #[test]
    fn segments_that_the_log_has_are_taken_out_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path(), 0).unwrap();
        let mut chain = Chain::default();
        for _ in 0..4 {
            append(&mut spool, &mut chain, &"x".repeat(600_000));
        }
        assert_eq!(spool.take_before(1), Vec::<PathBuf>::new());
        assert_eq!(spool.take_before(3), [path_of(folder.path(), 1)]);
        assert_eq!(spool.take_before(4), Vec::<PathBuf>::new(), "the last one is written to");
        assert_eq!(all(&spool, folder.path(), 2, 9).len(), 2);
        // The folder and all that is left are new to the disk; later only what is written to.
        let (first, second) = (spool.unsynced(), spool.unsynced());
        assert_eq!((first.files.len(), first.folder.is_some()), (1, true));
        assert_eq!((second.files.len(), second.folder), (1, None));
        first.sync().unwrap();
    }

    #[test]
    fn an_entry_cut_at_any_byte_hides_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path(), 0).unwrap();
        let mut chain = Chain::default();
        let whole = append(&mut spool, &mut chain, "whole");
        append(&mut spool, &mut chain, "cut short");
        let path = path_of(folder.path(), 1);
        let bytes = fs::read(&path).unwrap();
        let end_of_whole = HEAD_BYTES + whole.len();
        for end in end_of_whole..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let mut found = Found::default();
            let segment = scan(&path, 1, 0, &mut found).unwrap();
            assert_eq!((found.last.as_ref(), segment.end_seq), (Some(&whole), 1), "cut at {end}");
            assert_eq!(found.torn_bytes, (end - end_of_whole) as u64);
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(last_in(folder.path()).unwrap(), Some(whole));
    }
}
