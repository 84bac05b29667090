//! What is to go wrong, for whom and how often.

use std::time::Duration;

use crate::id::MemberId;
use crate::raftpb::MessageClass;

/// No delay may be longer: what is late for a minute is lost for raft.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// No window may be wider: as many as a lane holds.
const WINDOW_MAX: usize = 4096;

/// What happens to the messages that an [`Injection`] concerns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// All are lost.
    Cut,
    /// Each is lost with this probability, 0 to 1.
    Drop {
        /// 0 to 1.
        probability: f64,
    },
    /// Each is late by a time between these, at most a minute. Those of one class stay in their order.
    Delay {
        /// At least.
        min: Duration,
        /// At most.
        max: Duration,
    },
    /// Each is followed by a copy with this probability. A snapshot never is: its sender hears of it
    /// exactly once.
    Duplicate {
        /// 0 to 1.
        probability: f64,
    },
    /// They leave in another order; none is overtaken by more than `window` others. Until as many have
    /// gathered they wait, for 20 ms at most.
    Reorder {
        /// 1 to 4,096.
        window: usize,
    },
    /// They wait until this is mended, and then all leave in their order. `limit` does not count here.
    Pause,
    /// Connections on this side are broken, and refused until this is mended: for sending, the streams
    /// that the peer dials, what posts to it and probes (a snapshot that is under way goes on); for receiving,
    /// the streams that we dial and what it posts. Classes, limit and seed mean nothing here.
    Disconnect,
}

/// One way of the messages between us and a peer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// From us to the peer.
    Sending,
    /// From the peer to us.
    Receiving,
}

/// The handle of an injected fault.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InjectionId(pub(crate) u64);

/// A fault and what it concerns: every message of every peer, both ways, unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    pub(crate) fault: Fault,
    pub(crate) peer: Option<MemberId>,
    pub(crate) side: Option<Side>,
    /// `None` for all.
    pub(crate) classes: Option<[bool; MessageClass::ALL.len()]>,
    pub(crate) limit: Option<u64>,
    pub(crate) seed: u64,
}

impl Injection {
    /// This fault for everyone, with seed 0.
    #[must_use]
    pub const fn new(fault: Fault) -> Self {
        Self { fault, peer: None, side: None, classes: None, limit: None, seed: 0 }
    }

    /// For this peer alone.
    #[must_use]
    pub fn peer(mut self, id: impl Into<MemberId>) -> Self {
        self.peer = Some(id.into());
        self
    }

    /// For this side alone.
    #[must_use]
    pub const fn side(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }

    /// For messages of these classes alone.
    #[must_use]
    pub fn classes(mut self, classes: impl IntoIterator<Item = MessageClass>) -> Self {
        let mut chosen = [false; MessageClass::ALL.len()];
        classes.into_iter().for_each(|class| chosen[class.index()] = true);
        self.classes = Some(chosen);
        self
    }

    /// It happens to so many messages of each peer and stream, and then no more.
    #[must_use]
    pub const fn limit(mut self, messages: u64) -> Self {
        self.limit = Some(messages);
        self
    }

    /// What is drawn by lot is drawn from this seed: the same messages in the same order have the same
    /// fate. Each peer and stream draws for itself.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What happens.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// True if it concerns messages of this peer on this side.
    #[must_use]
    pub fn concerns(&self, peer: MemberId, side: Side) -> bool {
        self.peer.is_none_or(|id| id == peer) && self.side.is_none_or(|own| own == side)
    }

    /// True if it concerns messages of this class.
    pub(super) fn has_class(&self, class: MessageClass) -> bool {
        self.classes.is_none_or(|classes| classes[class.index()])
    }

    /// Refuses what cannot be.
    ///
    /// # Errors
    /// What to give instead.
    pub fn validate(&self) -> Result<(), &'static str> {
        let is_good = match self.fault {
            Fault::Drop { probability } | Fault::Duplicate { probability } => {
                (0.0..=1.0).contains(&probability)
            }
            Fault::Delay { min, max } => min <= max && max <= DELAY_MAX,
            Fault::Reorder { window } => (1..=WINDOW_MAX).contains(&window),
            Fault::Cut | Fault::Pause | Fault::Disconnect => true,
        };
        match self.fault {
            _ if is_good => Ok(()),
            Fault::Delay { .. } => Err("give a delay with min <= max, of at most 60 s"),
            Fault::Reorder { .. } => Err("give a window of 1 to 4,096 messages"),
            _ => Err("give a probability from 0 to 1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_concerns_everything_that_it_does_not_leave_out() {
        let all = Injection::new(Fault::Cut);
        assert!(all.concerns(MemberId(2), Side::Sending) && all.concerns(MemberId(3), Side::Receiving));
        assert!(MessageClass::ALL.into_iter().all(|class| all.has_class(class)));
        let some = all.peer(2).side(Side::Sending).classes([MessageClass::Vote]);
        assert!(some.concerns(MemberId(2), Side::Sending));
        assert!(!some.concerns(MemberId(3), Side::Sending) && !some.concerns(MemberId(2), Side::Receiving));
        assert!(some.has_class(MessageClass::Vote) && !some.has_class(MessageClass::Append));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let second = Duration::from_secs(1);
        let bad = [
            Fault::Drop { probability: 1.1 },
            Fault::Drop { probability: f64::NAN },
            Fault::Duplicate { probability: -0.1 },
            Fault::Delay { min: 2 * second, max: second },
            Fault::Delay { min: second, max: 61 * second },
            Fault::Reorder { window: 0 },
            Fault::Reorder { window: 4097 },
        ];
        for fault in bad {
            assert!(Injection::new(fault).validate().is_err(), "{fault:?}");
        }
        for fault in
            [Fault::Cut, Fault::Pause, Fault::Drop { probability: 1.0 }, Fault::Reorder { window: 1 }]
        {
            assert_eq!(Injection::new(fault).validate(), Ok(()));
        }
    }
}
