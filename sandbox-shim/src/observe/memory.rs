//! Reads the agent's memory. Whatever is read may change under us: decisions on it are carried out by the shim or backed by the
//! floor, and it belongs to the thread only if the notification is still valid afterwards.

use crate::sys;
use std::io;

/// The longest path the kernel takes, with its zero byte.
const PATH_MAX: usize = 4096;
/// Memory is read up to the end of a page, because the next one may not be there.
const PAGE_BYTES: usize = 4096;

/// The memory of one thread's process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// The thread.
    pub thread: i32,
}

fn fault() -> io::Error {
    io::Error::from_raw_os_error(libc::EFAULT)
}

impl Memory {
    /// A text that ends in a zero byte, without it, at most `max` bytes long; whether it was cut.
    ///
    /// # Errors
    /// `EFAULT` when it is not there, `EPERM` when the process may not be looked into.
    pub(crate) fn text(self, address: u64, max: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut chunk = [0_u8; 256];
        text(address, max, |at, text| {
            let want = chunk.len().min(to_page_end(at));
            let got = sys::process::read_memory(self.thread, at, &mut chunk[..want])?;
            if got == 0 { Err(fault()) } else { Ok(take_text(&chunk[..got], text)) }
        })
    }

    /// A path.
    ///
    /// # Errors
    /// As [`Memory::text`], and `ENAMETOOLONG` as the kernel would say.
    pub(crate) fn path(self, address: u64) -> io::Result<Vec<u8>> {
        let (text, cut) = self.text(address, PATH_MAX)?;
        if cut || text.len() >= PATH_MAX {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        Ok(text)
    }

    /// Exactly `length` bytes.
    ///
    /// # Errors
    /// `EFAULT` when they are not all there.
    pub(crate) fn bytes(self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let got = sys::process::read_memory(self.thread, address, &mut bytes)?;
        if got == length { Ok(bytes) } else { Err(fault()) }
    }

    /// One 64-bit number.
    ///
    /// # Errors
    /// `EFAULT` when it is not there.
    pub(crate) fn number(self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        let got = sys::process::read_memory(self.thread, address, &mut bytes)?;
        if got == bytes.len() { Ok(u64::from_ne_bytes(bytes)) } else { Err(fault()) }
    }

    /// A null-ended array of texts, cut in number, each text and in all.
    ///
    /// # Errors
    /// `EFAULT` when it is not there.
    pub(crate) fn texts(self, address: u64, limits: TextLimits) -> io::Result<Vec<String>> {
        let mut texts = Vec::new();
        let mut room = limits.total;
        if address == 0 {
            return Ok(texts);
        }
        let (mut pointers, mut bytes) = (Page::of(self), Page::of(self));
        for index in 0_u64.. {
            let pointer = pointers.number(address.checked_add(index * 8).ok_or_else(fault)?)?;
            if pointer == 0 {
                break;
            }
            if texts.len() >= limits.count || room == 0 {
                texts.push("…".to_owned());
                break;
            }
            let (text, cut) = text(pointer, limits.each.min(room), |at, text| Ok(take_text(bytes.from(at)?, text)))?;
            room = room.saturating_sub(text.len());
            let mut text = String::from_utf8_lossy(&text).into_owned();
            if cut {
                text.push('…');
            }
            texts.push(text);
        }
        Ok(texts)
    }
}

/// The page that was read last: what lies close together, as the arguments of a program do, is read once.
struct Page {
    memory: Memory,
    bytes: [u8; PAGE_BYTES],
    /// Where it begins, once it has been read.
    at: Option<u64>,
}

impl Page {
    fn of(memory: Memory) -> Self {
        Self { memory, bytes: [0; PAGE_BYTES], at: None }
    }

    /// The bytes from `address` to the end of its page.
    fn from(&mut self, address: u64) -> io::Result<&[u8]> {
        let left = to_page_end(address);
        let at = address - (PAGE_BYTES - left) as u64;
        if self.at != Some(at) {
            self.at = None;
            if sys::process::read_memory(self.memory.thread, at, &mut self.bytes)? < PAGE_BYTES {
                return Err(fault());
            }
            self.at = Some(at);
        }
        Ok(&self.bytes[PAGE_BYTES - left..])
    }

    /// One 64-bit number.
    fn number(&mut self, address: u64) -> io::Result<u64> {
        match self.from(address)?.first_chunk() {
            Some(bytes) => Ok(u64::from_ne_bytes(*bytes)),
            // It goes on in the next page.
            None => self.memory.number(address),
        }
    }
}

/// How many bytes there are from `address` to the end of its page.
fn to_page_end(address: u64) -> usize {
    PAGE_BYTES - usize::try_from(address % PAGE_BYTES as u64).expect("less than a page")
}

/// Reads a text part by part, until its zero byte or `max` bytes are there; whether it was cut. `append` appends what it has from an address
/// on, and tells whether the text ended.
fn text(
    address: u64,
    max: usize,
    mut append: impl FnMut(u64, &mut Vec<u8>) -> io::Result<bool>,
) -> io::Result<(Vec<u8>, bool)> {
    if address == 0 {
        return Err(fault());
    }
    let mut text = Vec::new();
    loop {
        let at = address.checked_add(text.len() as u64).ok_or_else(fault)?;
        let has_ended = append(at, &mut text)?;
        if has_ended || text.len() >= max {
            let cut = !has_ended || text.len() > max;
            text.truncate(max);
            return Ok((text, cut));
        }
    }
}

/// Appends what comes before the first zero byte; whether there was one.
fn take_text(bytes: &[u8], text: &mut Vec<u8>) -> bool {
    let end = bytes.iter().position(|byte| *byte == 0);
    text.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
    end.is_some()
}

/// How much of an array of texts is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextLimits {
    /// Texts.
    pub count: usize,
    /// Bytes of each.
    pub each: usize,
    /// Bytes of all.
    pub total: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLE: TextLimits = TextLimits { count: 1000, each: 9000, total: 100_000 };

    fn mine() -> Memory {
        Memory { thread: i32::try_from(std::process::id()).unwrap() }
    }

    /// Pages of memory, from the beginning of a page.
    fn pages(room: &mut Vec<u8>, count: usize) -> &mut [u8] {
        room.resize((count + 1) * PAGE_BYTES, b'x');
        let skip = to_page_end(room.as_ptr().addr() as u64) % PAGE_BYTES;
        &mut room[skip..skip + count * PAGE_BYTES]
    }

    fn put(memory: &mut [u8], at: usize, bytes: &[u8]) -> u64 {
        memory[at..at + bytes.len()].copy_from_slice(bytes);
        memory[at..].as_ptr().addr() as u64
    }

    #[test]
    fn texts_are_read_wherever_they_and_the_array_lie() {
        let mut room = Vec::new();
        let memory = pages(&mut room, 5);
        let long = [b'l'; PAGE_BYTES + 100];
        let texts: [(usize, &[u8]); 5] = [
            (PAGE_BYTES - 3, b"over the end of a page\0"),
            (2 * PAGE_BYTES - 4, b"end\0"),
            (100, b"\0"),
            (2 * PAGE_BYTES, &[&long[..], b"\0"].concat()),
            (300, b"again in the first\0"),
        ];
        let pointers = texts.map(|(at, text)| put(memory, at, text));
        let array: Vec<u8> = pointers.iter().chain([&0]).flat_map(|pointer| pointer.to_ne_bytes()).collect();
        let wanted: Vec<String> =
            texts.iter().map(|(_, text)| String::from_utf8_lossy(&text[..text.len() - 1]).into_owned()).collect();
        // The kernel takes an array that is not aligned.
        for at in [4 * PAGE_BYTES, 4 * PAGE_BYTES - 16, 4 * PAGE_BYTES - 3] {
            let array = put(memory, at, &array);
            assert_eq!(mine().texts(array, AMPLE).unwrap(), wanted, "array at {at}");
        }
        assert_eq!(mine().text(pointers[0], 100).unwrap(), (texts[0].1[..22].to_vec(), false));
        assert_eq!(mine().text(pointers[3], 9000).unwrap(), (long.to_vec(), false));
    }

    #[test]
    fn what_is_over_the_limits_is_cut_and_says_so() {
        let mut room = Vec::new();
        let memory = pages(&mut room, 1);
        let pointers: Vec<u64> = (0..4).map(|n| put(memory, n * 8, b"seven77\0")).chain([0]).collect();
        let array: Vec<u8> = pointers.iter().flat_map(|pointer| pointer.to_ne_bytes()).collect();
        let array = put(memory, 512, &array);
        let read = |count, each, total| mine().texts(array, TextLimits { count, each, total }).unwrap();
        assert_eq!(read(2, 100, 100), ["seven77", "seven77", "…"]);
        assert_eq!(read(9, 3, 100), ["sev…"; 4]);
        assert_eq!(read(9, 7, 10), ["seven77", "sev…", "…"]);
        assert_eq!(read(9, 7, 28), ["seven77"; 4]);
    }

    #[test]
    fn what_is_not_there_is_a_fault() {
        let fault = |error: io::Error| error.raw_os_error() == Some(libc::EFAULT);
        assert!(mine().text(0, 10).is_err_and(fault));
        assert!(mine().text(8, 10).is_err_and(fault));
        assert!(mine().texts(8, AMPLE).is_err_and(fault));
        let array = [8_u64, 0];
        assert!(mine().texts(array.as_ptr().addr() as u64, AMPLE).is_err_and(fault));
        assert_eq!(mine().texts(0, AMPLE).unwrap(), Vec::<String>::new());
    }
}
