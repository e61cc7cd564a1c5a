//! Which interpreter or loader the beginning of a program names.

use super::FileId;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So much of a program is looked at; linkers put the name of the loader right behind the headers.
const BEGINNING: u64 = 4096;

/// Whether `file` is what the program at `path` names as its interpreter or loader. A program that cannot be read names nothing.
#[must_use]
pub(crate) fn is_interpreter_of(path: &Path, file: FileId) -> bool {
    let mut bytes = Vec::new();
    // A pipe would keep the caller waiting, so only what is a plain file is opened.
    let read = path.is_file()
        && std::fs::File::open(path).is_ok_and(|program| program.take(BEGINNING).read_to_end(&mut bytes).is_ok());
    let named = interpreter(&bytes).filter(|_| read);
    named.and_then(|named| named.metadata().ok()).is_some_and(|found| FileId::of(&found) == file)
}

/// The interpreter that these first bytes of a program name: after `#!`, or in an ELF program's `PT_INTERP`.
fn interpreter(bytes: &[u8]) -> Option<&Path> {
    let text = match bytes.strip_prefix(b"#!") {
        Some(line) => line
            .split(|byte| *byte == b'\n')
            .next()?
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .find(|word| !word.is_empty())?,
        None => loader(bytes)?.split(|byte| *byte == 0).next()?,
    };
    (!text.is_empty()).then(|| Path::new(OsStr::from_bytes(text)))
}

/// The bytes of `PT_INTERP` of a program of 64 bits in the byte order of this machine; the layout is that of elf(5).
fn loader(bytes: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u32 = 3;
    const HEADER_BYTES: usize = 56;
    let is_64_bits = bytes.starts_with(b"\x7fELF\x02");
    let headers = usize::try_from(u64::from_ne_bytes(at(bytes, 32)?)).ok().filter(|_| is_64_bits)?;
    let count = usize::from(u16::from_ne_bytes(at(bytes, 56)?));
    let mut all = bytes.get(headers..)?.chunks_exact(HEADER_BYTES).take(count);
    let header = all.find(|header| at(header, 0).map(u32::from_ne_bytes) == Some(PT_INTERP))?;
    let from = usize::try_from(u64::from_ne_bytes(at(header, 8)?)).ok()?;
    let length = usize::try_from(u64::from_ne_bytes(at(header, 32)?)).ok()?;
    bytes.get(from..from.checked_add(length)?)
}

fn at<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_script_names_its_interpreter_in_the_first_line() {
        for (text, named) in [
            ("#!/bin/sh\nexit", Some("/bin/sh")),
            ("#! /usr/bin/env  python3\n", Some("/usr/bin/env")),
            ("#!\t/bin/sh", Some("/bin/sh")),
            ("#!\n/bin/sh", None),
            ("exit", None),
            ("", None),
        ] {
            assert_eq!(interpreter(text.as_bytes()), named.map(Path::new), "{text:?}");
        }
    }

    #[test]
    fn a_program_of_this_machine_names_the_loader_that_it_runs_by() {
        let own = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped: Vec<&str> = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
        let loader = mapped.iter().find(|path| path.contains("/ld-")).expect("tests are linked dynamically");
        let id = |path: &str| FileId::of(&Path::new(path).metadata().unwrap());
        assert!(is_interpreter_of(&own, id(loader)));
        assert!(!is_interpreter_of(&own, id("/proc/self/exe")));
    }

    proptest! {
        #[test]
        fn no_beginning_of_a_file_is_too_strange(rest in prop::collection::vec(any::<u8>(), 0..200)) {
            for head in [b"".as_slice(), b"#!", b"\x7fELF\x02"] {
                let bytes = [head, &rest].concat();
                prop_assert!(interpreter(&bytes).is_none_or(|path| !path.as_os_str().is_empty()));
            }
        }
    }
}
