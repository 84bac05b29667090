//! A replicated key-value server: raft-rs for consensus, raftring for transport; it stands among etcd
//! members as one of them.
//!
//! ```text
//!   clients ── http ──▶ inbox ──▶ node (one thread) ──▶ Transport ──▶ other members
//!                         ▲          │        │
//!   other members ── peers ┘         ▼        ▼
//!                                   log     state, snapshots
//! ```

mod clerk;
mod diary;
mod etcd;
mod flags;
mod http;
mod identity;
mod inbox;
mod log;
mod node;
mod peers;
mod proposals;
mod reads;
mod server;
mod snapshots;
mod state;
mod status;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

/// The exit status of a member that was removed: it must not be started again.
const REMOVED: u8 = 3;

fn main() -> ExitCode {
    match server::run(&flags::Flags::parse()) {
        Ok(node::End::Stopped) => ExitCode::SUCCESS,
        Ok(node::End::Removed) => ExitCode::from(REMOVED),
        Err(error) => {
            diary::warn(format!("ending: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
