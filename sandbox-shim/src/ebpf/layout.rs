//! Where fields lie in the kernel's structures, read from the description that the kernel has of itself.
//!
//! `/sys/kernel/btf/vmlinux`, in the format of `Documentation/bpf/btf.rst`: a header, all types one after the other, all names.
//! ```text
//! header   magic u16, version u8, flags u8, length u32, types at u32 of so many bytes u32, names at u32 of so many bytes u32
//! type     name u32, kind in bits 24 to 28 and number of members in bits 0 to 15 of a u32, size or type u32, then what the kind has behind it
//! member   name u32, type u32, offset in bits u32 (in bits 0 to 23 where bit 31 of the second word of the type is set)
//! ```
use std::io;

/// Where the kernel describes itself.
pub(super) const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Offsets of fields, in bytes, and the numbers of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    pub task_thread_pid: i32,
    pub task_group_leader: i32,
    pub task_real_parent: i32,
    pub task_tgid: i32,
    pub task_start_boottime: i32,
    pub task_fs: i32,
    pub task_files: i32,
    pub pid_level: i32,
    pub pid_numbers: i32,
    pub upid_ns: i32,
    pub pid_namespace_ns: i32,
    pub ns_common_inum: i32,
    pub fs_pwd: i32,
    pub files_fdt: i32,
    pub fdt_max_fds: i32,
    pub fdt_fd: i32,
    pub file_f_path: i32,
    pub path_mnt: i32,
    pub path_dentry: i32,
    pub dentry_d_parent: i32,
    pub dentry_d_name: i32,
    pub qstr_name: i32,
    pub vfsmount_mnt_root: i32,
    pub mount_mnt: i32,
    pub mount_mnt_parent: i32,
    pub mount_mnt_mountpoint: i32,
    /// The type of the tracepoint at which calls end.
    pub sys_exit: u32,
    /// What makes a pointer of a number.
    pub rdonly_cast: u32,
    pub dentry: u32,
    pub file: u32,
    pub vfsmount: u32,
}

/// Kinds of types.
mod kind {
    pub(super) const STRUCTURE: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const OTHER_NAME: u32 = 8;
    pub(super) const FUNCTION: u32 = 12;
}

impl Layout {
    /// The structure, the field, and where its offset is kept.
    fn wanted(&mut self) -> [(&'static str, &'static str, &mut i32); 26] {
        [
            ("task_struct", "thread_pid", &mut self.task_thread_pid),
            ("task_struct", "group_leader", &mut self.task_group_leader),
            ("task_struct", "real_parent", &mut self.task_real_parent),
            ("task_struct", "tgid", &mut self.task_tgid),
            ("task_struct", "start_boottime", &mut self.task_start_boottime),
            ("task_struct", "fs", &mut self.task_fs),
            ("task_struct", "files", &mut self.task_files),
            ("pid", "level", &mut self.pid_level),
            ("pid", "numbers", &mut self.pid_numbers),
            ("upid", "ns", &mut self.upid_ns),
            ("pid_namespace", "ns", &mut self.pid_namespace_ns),
            ("ns_common", "inum", &mut self.ns_common_inum),
            ("fs_struct", "pwd", &mut self.fs_pwd),
            ("files_struct", "fdt", &mut self.files_fdt),
            ("fdtable", "max_fds", &mut self.fdt_max_fds),
            ("fdtable", "fd", &mut self.fdt_fd),
            ("file", "f_path", &mut self.file_f_path),
            ("path", "mnt", &mut self.path_mnt),
            ("path", "dentry", &mut self.path_dentry),
            ("dentry", "d_parent", &mut self.dentry_d_parent),
            ("dentry", "d_name", &mut self.dentry_d_name),
            ("qstr", "name", &mut self.qstr_name),
            ("vfsmount", "mnt_root", &mut self.vfsmount_mnt_root),
            ("mount", "mnt", &mut self.mount_mnt),
            ("mount", "mnt_parent", &mut self.mount_mnt_parent),
            ("mount", "mnt_mountpoint", &mut self.mount_mnt_mountpoint),
        ]
    }

    /// The type, its kind, and where its number is kept.
    fn numbered(&mut self) -> [(&'static str, u32, &mut u32); 5] {
        [
            ("btf_trace_sys_exit", kind::OTHER_NAME, &mut self.sys_exit),
            ("bpf_rdonly_cast", kind::FUNCTION, &mut self.rdonly_cast),
            ("dentry", kind::STRUCTURE, &mut self.dentry),
            ("file", kind::STRUCTURE, &mut self.file),
            ("vfsmount", kind::STRUCTURE, &mut self.vfsmount),
        ]
    }

    /// Reads it of the running kernel.
    ///
    /// # Errors
    /// `NotFound` where the kernel does not describe itself, `InvalidData` where the description has no such field or cannot be read.
    pub(super) fn of_this_kernel() -> io::Result<Self> {
        Self::read(&std::fs::read(BTF)?)
            .map_err(|what| io::Error::new(io::ErrorKind::InvalidData, format!("{BTF} {what}")))
    }

    fn read(btf: &[u8]) -> Result<Self, String> {
        let btf = Btf::parse(btf).ok_or("is cut short, or no BTF of this machine's byte order")?;
        let mut layout = Self::default();
        let structures = layout.wanted().map(|(structure, ..)| structure);
        let others = layout.numbered().map(|(text, kind, _)| (text, kind));
        let is_wanted = |one: &Type<'_>| match one.kind {
            kind::STRUCTURE => structures.iter().any(|text| one.name.is(text)),
            kind => others.iter().any(|(text, of)| kind == *of && one.name.is(text)),
        };
        let places = btf.places()?;
        let all = (1_u32..).zip(&places).filter_map(|(id, place)| Some((id, btf.at(*place)?)));
        let found: Vec<(u32, Type<'_>)> = all.filter(|(_, one)| is_wanted(one)).collect();
        for (structure, field, offset) in layout.wanted() {
            let mut of_that_name =
                found.iter().filter(|(_, one)| one.kind == kind::STRUCTURE && one.name.is(structure));
            let place = of_that_name.find_map(|(_, one)| one.offset(field, &btf, &places, 0));
            // As much as an instruction has room for.
            let place = place.and_then(|place| i16::try_from(place).ok()).map(i32::from);
            *offset = place.ok_or_else(|| format!("has no {structure}.{field}"))?;
        }
        for (text, kind, number) in layout.numbered() {
            let id = found.iter().find(|(_, one)| one.kind == kind && one.name.is(text)).map(|(id, _)| *id);
            *number = id.ok_or_else(|| format!("has no {text}"))?;
        }
        Ok(layout)
    }
}

/// How deep structures without a name stand in each other at most.
const DEPTH_MAX: u32 = 16;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The description.
#[derive(Debug, Clone, Copy)]
struct Btf<'a> {
    types: &'a [u8],
    names: &'a [u8],
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        const MAGIC: u32 = 0xeb9f;
        if word(bytes, 0)? & 0xffff != MAGIC {
            return None;
        }
        let place = |at| word(bytes, at).and_then(|word| usize::try_from(word).ok());
        let behind = bytes.get(place(4)?..)?;
        let part = |from: usize, length| behind.get(from..from.checked_add(length)?);
        Some(Self { types: part(place(8)?, place(12)?)?, names: part(place(16)?, place(20)?)? })
    }

    fn name(&self, at: u32) -> Option<Name<'a>> {
        self.names.get(usize::try_from(at).ok()?..).map(Name)
    }

    /// Where each type begins, the first of which has the number 1.
    fn places(&self) -> Result<Vec<u32>, String> {
        let mut places = Vec::with_capacity(self.types.len() / 24);
        let mut at = 0;
        while at < self.types.len() {
            let info = word(self.types, at + 4).ok_or("ends inside a type")?;
            let behind =
                bytes_behind(info).ok_or("has types of a kind that is not known: a newer kernel than this shim")?;
            places.push(u32::try_from(at).map_err(|_| "is too long")?);
            at += 12 + behind;
        }
        Ok(places)
    }

    /// The type that begins there; `None` when it is cut short.
    fn at(&self, place: u32) -> Option<Type<'a>> {
        let at = usize::try_from(place).ok()?;
        let info = word(self.types, at + 4)?;
        let behind = self.types.get(at + 12..at + 12 + bytes_behind(info)?)?;
        let name = self.name(word(self.types, at)?)?;
        Some(Type { name, kind: kind_of(info), has_bits: info >> 31 != 0, behind })
    }
}

const fn kind_of(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// How many bytes follow a type that says this of itself.
fn bytes_behind(info: u32) -> Option<usize> {
    let count = usize::try_from(info & 0xffff).ok()?;
    Some(match kind_of(info) {
        // An integer, a variable's linkage, a tag's place.
        1 | 14 | 17 => 4,
        // An array.
        3 => 12,
        // Structures, unions, sections, enumerations of 64 bits.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumerations, and parameters of functions.
        6 | 13 => 8 * count,
        // Pointers, forward declarations, other names, qualifiers, functions, numbers with a point, tags of types.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

/// The names from a name on, which a zero byte ends.
#[derive(Debug, Clone, Copy)]
struct Name<'a>(&'a [u8]);

impl Name<'_> {
    fn is(self, text: &str) -> bool {
        self.0.strip_prefix(text.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

#[derive(Debug)]
struct Type<'a> {
    name: Name<'a>,
    kind: u32,
    has_bits: bool,
    behind: &'a [u8],
}

impl<'a> Type<'a> {
    /// Where a field begins, in bytes; also one of a structure without a name that stands inside.
    fn offset(&self, field: &str, btf: &Btf<'a>, places: &[u32], depth: u32) -> Option<u32> {
        if !matches!(self.kind, kind::STRUCTURE | kind::UNION) || depth > DEPTH_MAX {
            return None;
        }
        self.behind.chunks_exact(12).find_map(|member| {
            let bits = word(member, 8)?;
            let at = if self.has_bits { bits & 0xff_ffff } else { bits } / 8;
            let name = btf.name(word(member, 0)?)?;
            if !name.is("") {
                return name.is(field).then_some(at);
            }
            let of = places.get(usize::try_from(word(member, 4)?).ok()?.checked_sub(1)?)?;
            at.checked_add(btf.at(*of)?.offset(field, btf, places, depth + 1)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Its name, the number of its type, and where it begins, in bytes.
    type Field = (&'static str, u32, u32);

    /// A description of structures, numbered from 1.
    fn described(structures: &[(&str, Vec<Field>)]) -> Vec<u8> {
        let mut names = vec![0_u8];
        let mut places = HashMap::from([("", 0)]);
        let mut named = |text| {
            // Each is there once, as in the kernel's.
            *places.entry(text).or_insert_with(|| {
                let at = u32::try_from(names.len()).unwrap();
                names.extend(str::bytes(text).chain([0]));
                at
            })
        };
        let mut types = Vec::new();
        for (name, fields) in structures {
            let count = u32::try_from(fields.len()).unwrap();
            types.extend([named(name), 4 << 24 | count, 0]);
            for (field, of, byte) in fields {
                types.extend([named(field), *of, byte * 8]);
            }
        }
        for (name, kind, _) in Layout::default().numbered() {
            types.extend([named(name), kind << 24, 0]);
        }
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let sizes = [0, types.len(), types.len(), names.len()].map(|size| u32::try_from(size).unwrap());
        let header = [0x0001_eb9f, 24].into_iter().chain(sizes).flat_map(u32::to_ne_bytes);
        header.chain(types).chain(names).collect()
    }

    /// Every field that is wanted, each eight bytes behind the one before; those of `dentry` in a structure without a name.
    fn whole() -> (Vec<u8>, u32) {
        let mut layout = Layout::default();
        let wanted = layout.wanted().map(|(structure, field, _)| (structure, field));
        let mut structures: Vec<(&str, Vec<Field>)> = vec![("", Vec::new())];
        for (place, (structure, field)) in (0..).zip(wanted) {
            let fields = match structures.iter_mut().find(|(name, _)| *name == structure) {
                _ if structure == "dentry" => &mut structures[0].1,
                Some((_, fields)) => fields,
                None => {
                    structures.push((structure, Vec::new()));
                    &mut structures.last_mut().unwrap().1
                }
            };
            fields.push((field, 0, place * 8));
        }
        structures.push(("dentry", vec![("d_flags", 0, 0), ("", 1, 4)]));
        let last = u32::try_from(structures.len()).unwrap();
        (described(&structures), last)
    }

    #[test]
    fn every_field_is_found_in_its_structure_and_in_those_without_a_name_inside() {
        let (bytes, structures) = whole();
        let mut layout = Layout::read(&bytes).unwrap();
        for (place, (structure, field, offset)) in (0..).zip(layout.wanted()) {
            let inside = if structure == "dentry" { 4 } else { 0 };
            assert_eq!(*offset, place * 8 + inside, "{structure}.{field}");
        }
        // The types without fields come last; those of a structure come first.
        assert_eq!((layout.sys_exit, layout.rdonly_cast), (structures + 1, structures + 2));
        assert!([layout.dentry, layout.file, layout.vfsmount].iter().all(|id| *id <= structures));
    }

    #[test]
    fn a_field_that_is_not_there_is_named() {
        let error = Layout::read(&described(&[("task_struct", vec![])])).unwrap_err();
        assert_eq!(error, "has no task_struct.thread_pid");
    }

    proptest! {
        #[test]
        fn whatever_is_bent_is_an_error_or_a_layout(cut in 0..2000_usize, at in 0..2000_usize, to: u8) {
            let (mut bytes, _) = whole();
            let place = at % bytes.len();
            bytes[place] = to;
            bytes.truncate(cut.max(24));
            Layout::read(&bytes).ok();
        }
    }

    #[test]
    fn this_kernel_describes_itself() {
        if !std::path::Path::new(BTF).exists() {
            println!("SKIPPED this_kernel_describes_itself: there is no {BTF}");
            return;
        }
        let layout = Layout::of_this_kernel().unwrap();
        // These have not moved since there are paths.
        assert_eq!((layout.path_mnt, layout.path_dentry, layout.vfsmount_mnt_root), (0, 8, 0));
    }
}
