//! Memory that is not needed any more: how the heap is kept in few parts, and what is given back to the system.

use std::io;

/// As many parts as threads allocate in at once here: the one that receives calls, and the rest.
#[cfg(target_env = "gnu")]
const PARTS: i32 = 2;

/// Keeps the heap in few parts. Otherwise each of some thirty threads keeps one of its own, none of which another can use. Only glibc has
/// such parts.
pub(crate) fn keep_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: two numbers; whatever they are, the heap works.
    let _taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, PARTS) };
}

/// Gives what is free back to the system, and those pages of the program itself that only its start had a use for: the kernel keeps the
/// file in its cache and maps a page again when it is used again.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the heap's own locks and touches only what is free.
    let _given = unsafe { libc::malloc_trim(0) };
    let (Ok(maps), Ok(program)) = (std::fs::read_to_string("/proc/self/maps"), std::env::current_exe()) else { return };
    let Some(program) = program.to_str() else { return };
    for (start, length) in never_written(&maps, program) {
        // When it cannot be given back, it stays.
        drop(let_go(start, length));
    }
}

/// Where the parts of `program` lie that nothing ever writes: its code, and the constants in front of it. What lies behind is written
/// once, when the program is loaded, and must stay.
fn never_written(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let part = |line: &str| {
        // 55d0db0cb000-55d0dc68c000 r-xp 00c1a000 fe:00 262371 /usr/bin/wk-shim
        let mut fields = line.split_ascii_whitespace();
        let (range, rights, offset, path) = (fields.next()?, fields.next()?, fields.next()?, fields.nth(2)?);
        let is_constant = rights == "r--p" && offset.bytes().all(|digit| digit == b'0');
        if path != program || !(rights == "r-xp" || is_constant) {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        Some((start, usize::from_str_radix(end, 16).ok()?.checked_sub(start)?))
    };
    maps.lines().filter_map(part).collect()
}

fn let_go(start: usize, length: usize) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: these pages are mapped privately from a file and were never written, so what is read there later is what is there now.
    super::check_int(unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0d9000000-55d0d9c1a000 r--p 00000000 fe:00 262371                     /usr/bin/wk-shim
55d0d9c1a000-55d0db0cb000 r-xp 00c1a000 fe:00 262371                     /usr/bin/wk-shim
55d0db0cb000-55d0db283000 r--p 020ca000 fe:00 262371                     /usr/bin/wk-shim
55d0db283000-55d0db28d000 rw-p 02282000 fe:00 262371                     /usr/bin/wk-shim
55d0dc000000-55d0dc0a7000 rw-p 00000000 00:00 0                          [heap]
7fb794000000-7fb794021000 r-xp 00026000 fe:00 262400                     /usr/lib/libc.so.6
";

    #[test]
    fn only_what_nothing_ever_writes_is_let_go() {
        let parts = [(0x55d0_d900_0000, 0xc1_a000), (0x55d0_d9c1_a000, 0x14b_1000)];
        assert_eq!(never_written(MAPS, "/usr/bin/wk-shim"), parts);
        assert_eq!(never_written(MAPS, "/usr/bin/other"), []);
    }

    #[test]
    fn a_program_goes_on_after_it_has_let_go() {
        let text = "kept".repeat(1000);
        give_back();
        assert_eq!(text.matches("kept").count(), 1000);
        let path = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!never_written(&maps, path.to_str().unwrap()).is_empty());
    }
}
