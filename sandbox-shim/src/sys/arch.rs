//! What differs between processor architectures.

use crate::calls::Entry;

/// An architecture, as a filter has to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arch {
    /// The value that the kernel gives a filter: little endian, 64 bit, and the machine's number in ELF.
    pub audit: u32,
    /// Calls from this number on belong to another ABI that shares the value.
    pub foreign_from: Option<u32>,
    /// The number of a call.
    pub number_of: fn(&Entry) -> Option<u32>,
}

/// x86-64, with x32 beside it.
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) const X86_64: Arch =
    Arch { audit: 0xc000_003e, foreign_from: Some(0x4000_0000), number_of: |entry| entry.x86_64 };

/// arm64.
#[cfg(any(test, target_arch = "aarch64"))]
pub(crate) const ARM64: Arch = Arch { audit: 0xc000_00b7, foreign_from: None, number_of: |entry| entry.arm64 };

/// The architecture this program was built for.
#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: Arch = X86_64;

/// The architecture this program was built for.
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: Arch = ARM64;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the shim knows the system calls of x86-64 and arm64 only; add a column to calls/linux.txt");

/// Numbers of calls that the C library's headers do not have yet, or not on every architecture.
pub(crate) mod nr {
    /// `fchmodat2`, Linux 6.6.
    pub(crate) const FCHMODAT2: i64 = 452;

    #[cfg(target_arch = "x86_64")]
    pub(crate) use libc::{
        SYS_chmod as CHMOD, SYS_chown as CHOWN, SYS_creat as CREAT, SYS_lchown as LCHOWN, SYS_link as LINK,
        SYS_mkdir as MKDIR, SYS_mknod as MKNOD, SYS_open as OPEN, SYS_rename as RENAME, SYS_rmdir as RMDIR,
        SYS_symlink as SYMLINK, SYS_unlink as UNLINK,
    };

    #[cfg(target_arch = "aarch64")]
    pub(crate) use absent::*;

    /// Calls that take a bare path. arm64 has only those with a folder (`openat`); a number of the kernel's has 32 bits, so no call of a
    /// program is ever one of these.
    #[cfg(target_arch = "aarch64")]
    mod absent {
        pub(crate) const CHMOD: i64 = i64::MIN;
        pub(crate) const CHOWN: i64 = i64::MIN + 1;
        pub(crate) const CREAT: i64 = i64::MIN + 2;
        pub(crate) const LCHOWN: i64 = i64::MIN + 3;
        pub(crate) const LINK: i64 = i64::MIN + 4;
        pub(crate) const MKDIR: i64 = i64::MIN + 5;
        pub(crate) const MKNOD: i64 = i64::MIN + 6;
        pub(crate) const OPEN: i64 = i64::MIN + 7;
        pub(crate) const RENAME: i64 = i64::MIN + 8;
        pub(crate) const RMDIR: i64 = i64::MIN + 9;
        pub(crate) const SYMLINK: i64 = i64::MIN + 10;
        pub(crate) const UNLINK: i64 = i64::MIN + 11;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::table;

    #[test]
    fn a_call_that_an_architecture_lacks_has_a_number_that_no_program_can_use() {
        let named = [
            ("fchmodat2", nr::FCHMODAT2),
            ("chmod", nr::CHMOD),
            ("chown", nr::CHOWN),
            ("creat", nr::CREAT),
            ("lchown", nr::LCHOWN),
            ("link", nr::LINK),
            ("mkdir", nr::MKDIR),
            ("mknod", nr::MKNOD),
            ("open", nr::OPEN),
            ("rename", nr::RENAME),
            ("rmdir", nr::RMDIR),
            ("symlink", nr::SYMLINK),
            ("unlink", nr::UNLINK),
        ];
        for (name, number) in named {
            let listed = table().iter().find(|entry| entry.name == name).and_then(|entry| NATIVE.number(entry));
            assert_eq!(i32::try_from(number).ok().map(i64::from), listed.map(i64::from), "{name}");
        }
        let mut numbers = named.map(|(_, number)| number);
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|two| two[0] != two[1]), "{numbers:?}");
    }
}
