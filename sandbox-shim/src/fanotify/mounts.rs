//! Which mounts a process has, as its `mountinfo` in `/proc` says (proc(5)).

use std::ffi::CString;

/// The places of the mounts, each as a path below the root of the process: `.` is the root itself.
#[must_use]
pub(super) fn places(mountinfo: &[u8]) -> Vec<CString> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines.filter_map(|line| place(line.split(|byte| *byte == b' ').nth(4)?)).collect()
}

fn place(escaped: &[u8]) -> Option<CString> {
    let below = escaped.strip_prefix(b"/")?;
    CString::new(if below.is_empty() { b".".to_vec() } else { unescaped(below) }).ok()
}

/// White space and backslashes stand there as a backslash and three octal digits.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_with_their_strange_letters() {
        let text = b"22 1 0:20 / / rw - ext4 /dev/vda rw\n\
            23 22 0:21 /sub /home/my\\040files\\134here rw shared:1 - tmpfs none rw\n\
            24 22 0:22 / /a\\b rw - tmpfs none rw\n\
            cut";
        let found: Vec<_> = places(text).into_iter().map(|place| place.into_string().unwrap()).collect();
        assert_eq!(found, [".", "home/my files\\here", "a\\b"]);
    }

    #[test]
    fn this_process_has_a_root() {
        let own = std::fs::read("/proc/self/mountinfo").unwrap();
        assert!(places(&own).iter().any(|place| place.as_c_str() == c"."));
    }
}
