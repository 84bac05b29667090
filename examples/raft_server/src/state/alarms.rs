//! Alarms: while one is raised, all members refuse the same entries.

use std::collections::BTreeSet;

use crate::etcd::rpc::{AlarmAction, AlarmRequest, AlarmType};

/// Which member has raised which.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Alarms {
    raised: BTreeSet<(i32, u64)>,
    mode: Mode,
}

/// What is refused. Not a function of the alarms alone: in etcd the one that was raised last counts, and
/// the first whose last member ends it makes all well, until a restart looks again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Mode {
    #[default]
    Normal,
    /// What could make the database larger.
    Capped,
    /// All.
    Corrupt,
}

impl Alarms {
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, u64)> {
        self.raised.iter().copied()
    }

    pub(super) fn apply(&mut self, request: &AlarmRequest) {
        let alarm = (request.alarm, request.member_id);
        match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Activate) => {
                let first = self.count(request.alarm) == 0;
                if self.raised.insert(alarm) && first {
                    self.mode = mode_of(request.alarm).unwrap_or(self.mode);
                }
            }
            Ok(AlarmAction::Deactivate) => {
                let was_raised = self.raised.remove(&alarm);
                if was_raised && self.count(request.alarm) == 0 && mode_of(request.alarm).is_some() {
                    self.mode = Mode::Normal;
                }
            }
            Ok(AlarmAction::Get) | Err(_) => {}
        }
    }

    /// As a member that starts does it.
    pub(super) fn restore(&mut self, alarm: i32, member: u64) {
        self.raised.insert((alarm, member));
        self.mode = if self.count(AlarmType::Corrupt as i32) > 0 {
            Mode::Corrupt
        } else if self.count(AlarmType::NoSpace as i32) > 0 {
            Mode::Capped
        } else {
            Mode::Normal
        };
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn count(&self, alarm: i32) -> usize {
        self.raised.range((alarm, 0)..=(alarm, u64::MAX)).count()
    }
}

fn mode_of(alarm: i32) -> Option<Mode> {
    match AlarmType::try_from(alarm) {
        Ok(AlarmType::NoSpace) => Some(Mode::Capped),
        Ok(AlarmType::Corrupt) => Some(Mode::Corrupt),
        Ok(AlarmType::None) | Err(_) => None,
    }
}
