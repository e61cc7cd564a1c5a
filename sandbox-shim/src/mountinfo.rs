//! Where mounts are, as `mountinfo` in `/proc` says (proc(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The places of the mounts, in the order of the lines.
pub(crate) fn places(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(place)
}

fn place(line: &[u8]) -> Option<PathBuf> {
    let escaped = line.split(|byte| *byte == b' ').nth(4)?;
    Some(OsString::from_vec(unescaped(escaped)).into())
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
    use std::path::Path;

    #[test]
    fn a_mount_point_is_read_as_the_kernel_escapes_it() {
        let line = br"36 35 98:0 /m /mnt/a\040b\134\011c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(place(line).unwrap(), Path::new("/mnt/a b\\\tc"));
        assert_eq!(place(b"36 35"), None);
    }
}
