//! What kind of place a path is: a credential, an ordinary place outside the workspace, the agent's own folder.
//!
//! The places are data (`data/secrets.txt`, `data/places.txt`), one entry a line. They decide how quiet the watcher is: an
//! honest session must give no finding, so what runtimes and toolchains read as a matter of course is listed there.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

/// So many paths are remembered with what the data says of them: the same ones come again and again.
const KNOWN_MAX: usize = 8192;
/// Longer paths are looked up each time.
const KNOWN_BYTES_MAX: usize = 256;

/// A file that holds a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// What kind of credential: `ssh_key`, `env_file`.
    pub kind: &'static str,
    /// Programs it belongs to; their reading it is ordinary. A trailing `*` stands for any ending.
    owners: Vec<&'static str>,
}

impl Secret {
    /// Whether the program at `image` is one that the credential belongs to.
    #[must_use]
    pub fn belongs_to(&self, image: &str) -> bool {
        let name = image.rsplit('/').next().unwrap_or(image);
        self.owners.iter().any(|o| o.strip_suffix('*').map_or(*o == name, |head| name.starts_with(head)))
    }

    /// Whether a text of these stems speaks of this kind of credential: all words of the kind are in it.
    #[must_use]
    pub fn is_spoken_of(&self, said: &BTreeSet<String>) -> bool {
        self.kind.split('_').all(|w| said.contains(&crate::text::stem(w)))
    }
}

/// What the data says of a place outside the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Read,
    Write,
    Agent,
}

struct Places {
    secrets: GlobSet,
    kinds: Vec<Option<Secret>>,
    ordinary: GlobSet,
    uses: Vec<Use>,
    markers: BTreeSet<&'static str>,
}

static PLACES: LazyLock<Places> =
    LazyLock::new(|| load().expect("the data files are part of the program and a test loads them"));

fn load() -> Result<Places, globset::Error> {
    let glob = |pattern: &str| GlobBuilder::new(pattern).literal_separator(true).empty_alternates(true).build();
    let lines = |text: &'static str| text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    let (mut secrets, mut kinds) = (GlobSetBuilder::new(), Vec::new());
    for line in lines(include_str!("../data/secrets.txt")) {
        let mut columns = line.split_whitespace();
        let (Some(kind), Some(pattern)) = (columns.next(), columns.next()) else { continue };
        secrets.add(glob(pattern)?);
        let owners = columns.next().unwrap_or_default().split(',').filter(|o| !o.is_empty()).collect();
        kinds.push((kind != "none").then_some(Secret { kind, owners }));
    }
    let (mut ordinary, mut uses, mut markers) = (GlobSetBuilder::new(), Vec::new(), BTreeSet::new());
    for line in lines(include_str!("../data/places.txt")) {
        let mut columns = line.split_whitespace();
        let (Some(kind), Some(pattern)) = (columns.next(), columns.next()) else { continue };
        if kind == "marker" {
            markers.insert(pattern);
            continue;
        }
        ordinary.add(glob(pattern)?);
        uses.push(match kind {
            "agent" => Use::Agent,
            "write" => Use::Write,
            _ => Use::Read,
        });
    }
    Ok(Places { secrets: secrets.build()?, kinds, ordinary: ordinary.build()?, uses, markers })
}

/// What the data says of a path, whatever the workspace.
#[derive(Debug, Clone, Copy)]
struct Known {
    secret: Option<&'static Secret>,
    is_agents: bool,
    is_read: bool,
    is_written: bool,
}

thread_local! {
    /// What [`look_up`] has given: it depends on the path alone.
    static KNOWN: RefCell<HashMap<Box<str>, Known>> = RefCell::default();
}

fn known(path: &str) -> Known {
    if path.len() > KNOWN_BYTES_MAX {
        return look_up(path);
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some(found) = known.get(path) {
            return *found;
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let found = look_up(path);
        known.insert(path.into(), found);
        found
    })
}

fn look_up(path: &str) -> Known {
    let places = &*PLACES;
    let candidate = Candidate::new(path);
    let first = places.secrets.matches_candidate(&candidate).into_iter().min();
    let secret = first.and_then(|i| places.kinds.get(i)?.as_ref());
    let mut out = Known { secret, is_agents: false, is_read: false, is_written: false };
    for index in places.ordinary.matches_candidate(&candidate) {
        match places.uses.get(index) {
            Some(Use::Agent) => out.is_agents = true,
            Some(Use::Write) => out.is_written = true,
            Some(Use::Read) => out.is_read = true,
            None => {}
        }
    }
    out
}

/// The credential that the path looks like, if it does.
#[must_use]
pub fn secret(path: &str) -> Option<&'static Secret> {
    known(path).secret
}

/// Where a path lies, seen from a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// In the workspace, or the workspace itself.
    pub is_inside: bool,
    /// In a folder of the agent's own.
    pub is_agents: bool,
    /// Reading there is ordinary: system, toolchain, configuration, cache.
    pub is_ordinary_to_read: bool,
    /// Writing there is ordinary: caches, temporary files, terminals.
    pub is_ordinary_to_write: bool,
}

/// Classifies an absolute path.
#[must_use]
pub fn place(path: &str, workspace: Option<&str>) -> Place {
    let is_inside = workspace.is_some_and(|w| within(path, w));
    let Known { is_agents, is_read, is_written, .. } = known(path);
    let is_way_to_workspace = workspace.is_some_and(|w| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        within(w, path) || (within(w, if folder.is_empty() { "/" } else { folder }) && PLACES.markers.contains(name))
    });
    Place {
        is_inside,
        is_agents,
        is_ordinary_to_read: is_read || is_written || is_agents || is_way_to_workspace,
        is_ordinary_to_write: is_written || is_agents,
    }
}

/// Whether `path` is `folder` or lies in it.
#[must_use]
pub fn within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `path` as an absolute path with its dots resolved: relative ones against `base`.
#[must_use]
pub fn resolve(path: &str, base: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_is_read() {
        let lines = |t: &str| t.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).count();
        assert_eq!(PLACES.kinds.len(), lines(include_str!("../data/secrets.txt")));
        assert_eq!(PLACES.uses.len() + PLACES.markers.len(), lines(include_str!("../data/places.txt")));
    }

    #[test]
    fn credentials_are_known_wherever_the_home_folder_is() {
        for (path, kind) in [
            ("/home/alice/.ssh/id_rsa", "ssh_key"),
            ("/tmp/x/home/.ssh/id_ed25519", "ssh_key"),
            ("/root/.aws/credentials", "aws_credentials"),
            ("/w/.env", "env_file"),
            ("/w/.env.production", "env_file"),
            ("/home/a/.kube/config", "kube_config"),
            ("/etc/shadow", "shadow"),
            ("/w/deploy/server-key.pem", "private_key"),
            ("/home/a/.config/google-chrome/Default/Login Data", "browser_store"),
        ] {
            assert_eq!(secret(path).map(|s| s.kind), Some(kind), "{path}");
        }
        for path in [
            "/home/alice/.ssh/id_rsa.pub",
            "/home/alice/.ssh/known_hosts",
            "/etc/ssl/certs/ca.pem",
            "/usr/lib/python3/dist-packages/certifi/cacert.pem",
            "/w/.env.example",
            "/w/src/main.rs",
            "/w/environment.md",
        ] {
            assert_eq!(secret(path), None, "{path}");
        }
    }

    #[test]
    fn a_credential_belongs_to_its_program() {
        let key = secret("/home/a/.ssh/id_rsa").unwrap();
        assert!(key.belongs_to("/usr/bin/ssh") && !key.belongs_to("/usr/bin/cat"));
        assert!(secret("/r/.docker/config.json").unwrap().belongs_to("/usr/bin/docker-credential-pass"));
    }

    #[test]
    fn runtimes_read_ordinary_places_and_nothing_else() {
        let w = Some("/home/alice/shop");
        for path in [
            "/",
            "/home/alice",
            "/usr/lib/x86_64-linux-gnu/libc.so.6",
            "/etc/ld.so.cache",
            "/proc/self/maps",
            "/home/alice/.config/git/config",
            "/home/alice/package.json",
            "/home/alice/.claude/settings.json",
            "/home/alice/.codex/config.toml",
            "/tmp/x",
        ] {
            assert!(place(path, w).is_ordinary_to_read, "{path}");
        }
        for path in ["/home/alice/letters/to-bob.txt", "/home/bob/shop/a", "/home/alice/shop2/a"] {
            assert!(!place(path, w).is_ordinary_to_read && !place(path, w).is_inside, "{path}");
        }
        assert!(place("/home/alice/shop", w).is_inside && place("/home/alice/shop/src/a.rs", w).is_inside);
        assert!(!place("/home/alice/.bashrc", w).is_ordinary_to_write && !place("/etc/hosts", w).is_ordinary_to_write);
    }

    #[test]
    fn dots_are_resolved() {
        assert_eq!(resolve("../../etc/./passwd", "/home/alice/shop"), "/home/etc/passwd");
        assert_eq!(resolve("/a//b/", "/x"), "/a/b");
    }
}
