//! Reads the agent's memory. Whatever is read may change under us: decisions on it are carried out by the shim or backed by the
//! floor, and it belongs to the thread only if the notification is still valid afterwards.

use crate::sys;
use std::io;

/// The longest path the kernel takes, with its zero byte.
const PATH_MAX: usize = 4096;
/// Memory is read up to the end of a page, because the next one may not be there.
const PAGE: u64 = 4096;

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
        if address == 0 {
            return Err(fault());
        }
        let mut text = Vec::new();
        let mut chunk = [0_u8; 256];
        let mut at = address;
        loop {
            let to_page_end = usize::try_from(PAGE - at % PAGE).map_err(|_| fault())?;
            let want = chunk.len().min(to_page_end);
            let got = sys::process::read_memory(self.thread, at, &mut chunk[..want])?;
            if got == 0 {
                return Err(fault());
            }
            if let Some(end) = chunk[..got].iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&chunk[..end]);
                let cut = text.len() > max;
                text.truncate(max);
                return Ok((text, cut));
            }
            text.extend_from_slice(&chunk[..got]);
            if text.len() >= max {
                text.truncate(max);
                return Ok((text, true));
            }
            at = at.checked_add(u64::try_from(got).map_err(|_| fault())?).ok_or_else(fault)?;
        }
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
        for index in 0_u64.. {
            let at = address.checked_add(index * 8).ok_or_else(fault)?;
            let pointer = self.number(at)?;
            if pointer == 0 {
                break;
            }
            if texts.len() >= limits.count || room == 0 {
                texts.push("…".to_owned());
                break;
            }
            let (text, cut) = self.text(pointer, limits.each.min(room))?;
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
