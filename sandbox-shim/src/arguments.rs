//! What a command line says about a program to run under watch: the same for `wk run` and `wk-shim run`.

use crate::agents::mcp_http::Route;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// A program to run under watch, and how.
#[derive(Debug, Args)]
pub struct Watched {
    /// Policy file, or the name of a preset: read-only, workspace, workspace+network, walled, build, strict, observe.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<String>,
    /// The folder that the agent is meant to work in. Default: the current one.
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// Let the agent work on an overlay of the workspace: what it changed is shown at the end, and `wk workspace` applies or discards it.
    #[arg(long)]
    pub ephemeral: bool,
    /// Put the shim and the agent into a box: `bwrap` is a bubblewrap in which only what the policy lets be written can be written.
    #[arg(long, value_name = "WALL", value_parser = ["bwrap"], conflicts_with = "ephemeral")]
    pub wrap: Option<String>,
    /// This is the run inside the box.
    #[arg(long, hide = true)]
    pub wrapped: bool,
    /// Stand between MCP clients and a server behind HTTP, here and there: `127.0.0.1:7777=https://mcp.example/mcp`; without an
    /// address at any free port. May be given several times.
    #[arg(long, value_name = "[ADDRESS=]URL")]
    pub mcp_http: Vec<Route>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub argv: Vec<OsString>,
}

impl Watched {
    /// Whether this is the run outside of the box that is asked for, and the session is one further in.
    #[must_use]
    pub fn needs_a_box(&self) -> bool {
        self.wrap.is_some() && !self.wrapped
    }
}
