//! What an action is about, and under which keys that is remembered.

use crate::session::host_key;
use std::borrow::Cow;

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Object {
    /// Nothing that has a name.
    #[default]
    None,
    /// A file, or a program.
    Path {
        /// `read`, `write` or `execute`: a refusal of one says nothing of the other.
        access: &'static str,
        /// Absolute path.
        path: String,
    },
    /// The other end of a connection.
    Host {
        /// Name, where it is known.
        name: Option<String>,
        /// Address, or path of a local socket.
        address: String,
        /// Port.
        port: Option<i32>,
    },
    /// A tool's command or arguments.
    Call(String),
}

impl Object {
    /// The keys under which refusals and grants of it are remembered.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Path { access, path } => vec![format!("{access} {path}")],
            Self::Host { name, address, port } => {
                let names = [name.as_deref(), Some(address.as_str())];
                names.into_iter().flatten().map(|n| format!("reach {}", host_key(n, *port))).collect()
            }
            Self::Call(text) => vec![format!("call {text}")],
        }
    }

    /// As a person reads it.
    #[must_use]
    pub fn label(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::None => None,
            Self::Path { path, .. } => Some(path.into()),
            Self::Host { name, address, port } => Some(host_key(name.as_deref().unwrap_or(address), *port).into()),
            Self::Call(text) => Some(text.into()),
        }
    }
}
