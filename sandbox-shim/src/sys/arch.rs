//! What differs between processor architectures. Only x86-64 is known here so far; arm64 follows by adding its constants.

/// `AUDIT_ARCH_X86_64`: little endian, 64 bit, machine 62.
#[cfg(target_arch = "x86_64")]
pub(crate) const AUDIT_ARCH: u32 = 0xc000_003e;

/// System calls from this number on belong to the x32 ABI, which shares the architecture value with x86-64.
#[cfg(target_arch = "x86_64")]
pub(crate) const FOREIGN_ABI_FROM: u32 = 0x4000_0000;

/// The last system call this filter has an opinion on: `file_setattr`, Linux 6.17.
pub(crate) const LAST_KNOWN: u32 = 469;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the shim knows the system calls of x86-64 only; add the constants of this architecture to sys/arch.rs");

/// Numbers that the C library's headers do not have yet.
pub(crate) mod nr {
    /// `fchmodat2`, Linux 6.6.
    pub(crate) const FCHMODAT2: i64 = 452;
    /// `open_tree_attr`, Linux 6.15.
    pub(crate) const OPEN_TREE_ATTR: i64 = 467;
}
