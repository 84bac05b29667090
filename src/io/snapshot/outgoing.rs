//! What a transport knows of snapshots it sent that were cut: the receiver may have kept what came.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::MemberId;
use crate::proto::snapshot::SnapshotIdentity;

/// Transfers that were cut and are remembered; of each, a few words.
const CUTS_MAX: usize = 64;

/// Of one transport; any core may ask.
#[derive(Default)]
pub(crate) struct Outgoing {
    cuts: Mutex<Vec<(MemberId, SnapshotIdentity)>>,
}

impl Outgoing {
    /// A transfer broke after a part of it had gone.
    pub(super) fn note_cut(&self, to: MemberId, identity: SnapshotIdentity) {
        let mut cuts = self.lock();
        cuts.retain(|(other, _)| *other != to);
        if cuts.len() >= CUTS_MAX {
            cuts.remove(0);
        }
        cuts.push((to, identity));
    }

    /// True if this very snapshot was cut the last time: then it is worth asking what came. It is
    /// asked once.
    pub(super) fn take_cut(&self, to: MemberId, identity: SnapshotIdentity) -> bool {
        let mut cuts = self.lock();
        let at = cuts.iter().position(|cut| *cut == (to, identity));
        at.map(|at| cuts.remove(at)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(MemberId, SnapshotIdentity)>> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
