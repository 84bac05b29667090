//! The state in a snapshot of etcd.

use std::path::Path;

use anyhow::{Result, bail};
use raft::eraftpb::ConfState;

use super::State;

impl State {
    /// The state at `index`: of `message_data`, the data of the MsgSnap, the members; of the database, all
    /// else.
    pub(crate) fn load_etcd(
        message_data: &[u8],
        database: &Path,
        index: u64,
        term: u64,
        conf_state: &ConfState,
    ) -> Result<Self> {
        let _ = (message_data, database, index, term, conf_state);
        bail!("not yet")
    }
}
