//! The data folder: what lies where, and the keys.
//!
//! ```text
//! log/            the embedded log                 keys/command.key  signs commands (watcher)
//! lake/           Delta table and Merkle log       keys/approver.key signs people's decisions (CLI)
//! watcher/        the watcher's state              keys/lake.key     signs checkpoints (ingest)
//! outbox/<id>/    records not yet on the log       keys/*.pub        what the others are checked with
//! sessions/<id>/  sockets and policy of a session  up.json           where the running services listen
//! query.url       the HTTP door                    keys/query.token  who holds it may ask there
//! ```
//! The folder belongs to its user alone (mode 0700, keys 0600), and the shim keeps every agent out of it.

use anyhow::{Context as _, bail};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{SigningKey, VerifyingKey};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The data folder.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

/// Whose signature a key makes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    /// The watcher's, under commands.
    Command,
    /// A person's, under approvals.
    Approver,
    /// The lake's, under checkpoints.
    Lake,
}

impl Key {
    const ALL: [Self; 3] = [Self::Command, Self::Approver, Self::Lake];

    const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Approver => "approver",
            Self::Lake => "lake",
        }
    }
}

impl Home {
    /// Opens the folder, making it and its keys when they are not there.
    ///
    /// # Errors
    /// When it cannot be made, or belongs to somebody else, or others may look into it.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        private_dir(dir)?;
        let dir = dir.canonicalize().with_context(|| format!("failed to open the data folder `{}`", dir.display()))?;
        let mode = fs::metadata(&dir)?.permissions().mode() & 0o077;
        if mode != 0 {
            bail!(
                "the data folder `{}` may be entered by others (mode {:o}); run `chmod 700` on it",
                dir.display(),
                mode | 0o700
            );
        }
        let home = Self(dir);
        private_dir(&home.0.join("keys"))?;
        for key in Key::ALL {
            home.ensure(key)?;
        }
        Ok(home)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
    pub(crate) fn lake(&self) -> PathBuf {
        self.0.join("lake")
    }
    pub(crate) fn watcher(&self) -> PathBuf {
        self.0.join("watcher")
    }
    pub(crate) fn sessions(&self) -> PathBuf {
        self.0.join("sessions")
    }
    pub(crate) fn query_address(&self) -> PathBuf {
        self.0.join("query.url")
    }
    pub(crate) fn endpoints(&self) -> PathBuf {
        self.0.join("up.json")
    }
    pub(crate) fn sql_history(&self) -> PathBuf {
        self.0.join("sql_history")
    }
    pub(crate) fn private(&self, key: Key) -> PathBuf {
        self.0.join("keys").join(format!("{}.key", key.name()))
    }
    pub(crate) fn public(&self, key: Key) -> PathBuf {
        self.0.join("keys").join(format!("{}.pub", key.name()))
    }

    /// The token of the HTTP door, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub(crate) fn query_token(&self) -> anyhow::Result<String> {
        let path = self.0.join("keys/query.token");
        if !path.exists() {
            write_new(&path, wk_schemas::Digest::of(&random()?).to_hex().as_bytes(), 0o600)?;
        }
        fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// When the file is not there or is not a PKCS#8 Ed25519 key in PEM form.
    pub(crate) fn signing_key(&self, key: Key) -> anyhow::Result<SigningKey> {
        read_private(&self.private(key))
    }

    /// The private key of a person who decides: that of the file, or that of the data folder where none is named.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub(crate) fn approver_key(&self, file: Option<&Path>) -> anyhow::Result<SigningKey> {
        match file {
            Some(path) => read_private(path),
            None => self.signing_key(Key::Approver),
        }
    }

    /// Reads a public key.
    ///
    /// # Errors
    /// When the file is not there or is not an Ed25519 key in PEM form.
    pub(crate) fn verifying_key(&self, key: Key) -> anyhow::Result<VerifyingKey> {
        read_public(&self.public(key))
    }

    /// Makes a key that is not there. Whoever writes the private file first has made the key; the public one follows from it.
    fn ensure(&self, key: Key) -> anyhow::Result<()> {
        if !self.private(key).exists() {
            let pem =
                SigningKey::from_bytes(&random()?).to_pkcs8_pem(LineEnding::LF).context("failed to encode a key")?;
            write_new(&self.private(key), pem.as_bytes(), 0o600)?;
        }
        if !self.public(key).exists() {
            let public = self.signing_key(key)?.verifying_key();
            let pem = public.to_public_key_pem(LineEnding::LF).context("failed to encode a key")?;
            write_new(&self.public(key), pem.as_bytes(), 0o644)?;
        }
        Ok(())
    }
}

/// Reads a private key.
///
/// # Errors
/// When the file is not there or is not an Ed25519 key in PEM form.
pub(crate) fn read_private(path: &Path) -> anyhow::Result<SigningKey> {
    SigningKey::read_pkcs8_pem_file(path)
        .with_context(|| format!("`{}` is not an Ed25519 private key (PKCS#8, PEM)", path.display()))
}

/// Reads a public key.
///
/// # Errors
/// When the file is not there or is not an Ed25519 key in PEM form.
pub(crate) fn read_public(path: &Path) -> anyhow::Result<VerifyingKey> {
    VerifyingKey::read_public_key_pem_file(path)
        .with_context(|| format!("`{}` is not an Ed25519 public key (PEM)", path.display()))
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).context("failed to read /dev/urandom")?;
    Ok(bytes)
}

fn private_dir(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("failed to make the folder `{}`", dir.display()))
}

/// Writes a file that must not be there yet, so that two processes that start at once do not make two keys.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("failed to write `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_fit_together() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("data")).unwrap();
        let first = home.signing_key(Key::Command).unwrap();
        let again = Home::open(&dir.path().join("data")).unwrap();
        assert_eq!(again.signing_key(Key::Command).unwrap(), first);
        assert_eq!(again.verifying_key(Key::Command).unwrap(), first.verifying_key());
        let mode = fs::metadata(home.private(Key::Command)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Home::open(&data).unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}
