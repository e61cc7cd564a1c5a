//! The mounts of a process as places below its root, which is how they are marked.

use crate::mountinfo;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The places of the mounts, each as a path below the root of the process: `.` is the root itself.
#[must_use]
pub(super) fn places(mountinfo: &[u8]) -> Vec<CString> {
    mountinfo::places(mountinfo).filter_map(below).collect()
}

fn below(place: PathBuf) -> Option<CString> {
    let place = place.into_os_string().into_vec();
    let below = place.strip_prefix(b"/")?;
    CString::new(if below.is_empty() { b"." } else { below }).ok()
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
