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

/// Numbers that the C library's headers do not have yet.
pub(crate) mod nr {
    /// `fchmodat2`, Linux 6.6.
    pub(crate) const FCHMODAT2: i64 = 452;
}
