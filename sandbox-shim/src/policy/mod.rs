//! What the sandbox allows: a file of rules, read once, and asked about each action.
//!
//! ```toml
//! name = "workspace"
//! hold_timeout = "5m"            # an unanswered hold is refused after this long
//!
//! [files]
//! default = "allow"              # allow | hold | deny, where no rule speaks
//! write = "hold"                 # the same for all but reading; default: the same as `default`
//! [[files.rules]]
//! match = "~/.ssh/**"            # a glob; ~ is the user's home, ${workspace} the agent's folder
//! on = "any"                     # any | read | write
//! action = "hold"
//! reason = "keys for other machines"
//!
//! [process]
//! default = "allow"
//! [[process.rules]]
//! match = "**/git"               # the program
//! arguments = "push*"            # optional: its arguments without the first, with spaces between
//! action = "hold"
//! reason = "leaves this machine"
//!
//! [network]
//! default = "hold"
//! dns = "allow"                  # may the system's own resolvers be asked
//! [[network.rules]]
//! match = "*.example.org:443"    # host, *.host, address, address/bits, loopback, * - each with or without :port
//! action = "allow"
//! reason = "the package registry"
//!
//! [egress]                       # optional; with it, all that leaves goes through the shim's proxy, and by these rules alone.
//! default = "hold"               # [network] then decides about loopback only, and may be left out
//! [[egress.rules]]
//! match = "*.example.org:80"     # as above; `loopback` is this machine's own, seen from inside the agent's network
//! methods = ["GET", "HEAD"]      # optional; speaks only of requests that the proxy can read: plain HTTP
//! at = "192.0.2.7:80"            # optional: where the host is, whatever its name leads to
//! action = "allow"
//! reason = "reading packages"
//!
//! [limits]                       # all optional
//! memory = "8GiB"
//! processes = 4096
//! time = "8h"
//!
//! [[tests]]                      # what `wk policy test` asks; one of read, write, run, connect
//! connect = "evil.example:443"
//! expect = "hold"
//! ```
//! The first rule that matches decides, then the default. Reading touches no file and no clock, and never panics. `file.rs` has the
//! keys, `parse.rs` reads them, `decide.rs` decides, and `kernel.rs` says what of it the kernel can enforce by itself.

mod decide;
mod egress;
mod explain;
mod file;
mod kernel;
mod network;
mod parse;
mod presets;
mod rules;
mod stricter;
mod verdict;

pub use egress::{Destination, Egress};
pub use explain::{Asked, Trial};
pub use network::plain;
pub use parse::PolicyError;
pub use presets::PRESETS;
pub use rules::{Limits, Places, Policy};
pub use verdict::{Action, On, Verdict};
