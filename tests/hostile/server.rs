//! A transport under attack, with a neighbour that must not notice.

use std::net::SocketAddr;
use std::time::Duration;

use raftring::raftpb::Message;
use raftring::{Config, Cores, CoresConfig, Event, Placement};

use crate::common::{Host, Member, app, wait_until};

/// Member 1, which is attacked, and member 3, its honest neighbour. Member 2 is the attacker: known
/// to member 1, at an address where nobody listens unless the test says otherwise.
pub(crate) struct Attacked {
    pub(crate) cores: Cores,
    pub(crate) one: Member,
    pub(crate) three: Member,
    /// Tasks and bytes out at rest: one per core.
    rest: Vec<(usize, usize)>,
    next_index: std::cell::Cell<u64>,
}

/// A port of this machine that refuses connections: bound and not listened on.
pub(crate) fn nobody() -> (String, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().expect("bound").as_socket().expect("IPv4");
    (format!("http://{address}"), socket)
}

/// Bytes in blocks that a core at rest may hold more or less of than before: each of a connection's
/// two buffers may be of another size than it was.
const BLOCKS_SLACK: usize = 1 << 20;

impl Attacked {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| ())
    }

    pub(crate) fn start_with(adjust: impl Fn(&mut Config)) -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let address = "127.0.0.1:0".parse().expect("an address");
        // Probes would make connections of their own, beside the attacker's and what is there at rest.
        let adjust = |config: &mut Config| {
            config.probe_interval = None;
            adjust(config);
        };
        let one = Member::start(1, &cores, address, adjust);
        let three = Member::start(3, &cores, address, |config| {
            config.placement = Placement::Core(0);
            adjust(config);
        });
        one.add(&three);
        three.add(&one);
        let mut attacked = Self { cores, one, three, rest: Vec::new(), next_index: std::cell::Cell::new(1) };
        wait_until("the neighbour's streams are up", || {
            [&attacked.one, &attacked.three].iter().all(|member| {
                let events = member.host.events.lock().expect("no panic");
                events.iter().filter(|event| matches!(event, Event::StreamUp { .. })).count() >= 4
            })
        });
        attacked.rest = attacked.holds();
        attacked
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.one.transport().local_addr().expect("it listens")
    }

    /// Makes the attacker a peer, to be dialled at `url`.
    pub(crate) fn add_attacker(&self, url: &str) {
        self.one.transport().add_peer(2, [url]).expect("a good peer");
    }

    fn holds(&self) -> Vec<(usize, usize)> {
        let of = |core| {
            let stats = self.cores.stats(core).expect("a core");
            (stats.tasks, stats.blocks.out_bytes())
        };
        (0..self.cores.count()).map(of).collect()
    }

    /// Bytes in blocks now, on all cores.
    pub(crate) fn blocks(&self) -> usize {
        self.holds().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Messages pass between the neighbours both ways, and neither has ever lost the other.
    pub(crate) fn assert_undisturbed(&self) {
        let index = self.next_index.get();
        self.next_index.set(index + 100);
        let to = |to: u64, from: u64, index| Message { to: Some(to), from: Some(from), ..app(index, 1) };
        for (sender, receiver) in [(&self.one, &self.three), (&self.three, &self.one)] {
            let batch = (index..index + 100).map(|index| to(receiver.id, sender.id, index));
            assert_eq!(sender.transport().send(batch).accepted, 100);
            for expected in index..index + 100 {
                let got = next_of(&receiver.host, sender.id);
                assert_eq!(got.entries[0].index(), expected);
            }
            let is_lost = |event: &&Event| matches!(event, Event::PeerInactive { peer, .. } if peer.0 != 2);
            let events = sender.host.events.lock().expect("no panic");
            let lost = events.iter().find(is_lost);
            assert!(lost.is_none(), "a neighbour was lost: {lost:?}");
        }
    }

    /// The attacker is removed: whatever it cost comes back.
    pub(crate) fn assert_recovers(&self) {
        assert!(self.one.transport().remove_peer(2).wait(Duration::from_secs(10)), "its tasks end");
        wait_until("tasks and blocks are back at rest", || {
            self.holds()
                .iter()
                .zip(&self.rest)
                .all(|(now, rest)| now.0 <= rest.0 && now.1 <= rest.1 + BLOCKS_SLACK)
        });
        self.assert_undisturbed();
    }
}

fn next_of(host: &Host, from: u64) -> Message {
    loop {
        let got = host.next(Duration::from_secs(5)).expect("the neighbour's message arrives");
        if got.origin.peer.0 == from {
            return got.message;
        }
    }
}

impl Drop for Attacked {
    fn drop(&mut self) {
        for member in [&self.one, &self.three] {
            let ended = member.transport().stop().wait(Duration::from_secs(10));
            assert!(ended || std::thread::panicking(), "member {} stops", member.id);
        }
    }
}
