//! A member that may be stopped and started again, reached through a proxy.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raftring::{Config, Cores, Event, Listen, Raft, Transport};

use crate::common::CLUSTER;
use crate::host::Host;
use crate::proxy::Proxy;

/// Members 1 to 5.
pub(crate) const MEMBERS: u64 = 5;

/// How long anything may take on a loaded machine: twice the longest that a peer which flaps has to
/// wait (30 s).
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Member {
    pub(crate) id: u64,
    /// Where its task runs; its peers are spread over all cores.
    pub(crate) core: usize,
    pub(crate) host: Arc<Host>,
    /// Messages that `send` took.
    pub(crate) accepted: Arc<AtomicU64>,
    /// Where it listens, whichever transport it is.
    address: SocketAddr,
    /// Where the others find it.
    pub(crate) proxy: Proxy,
    transport: Mutex<Transport>,
}

impl Member {
    pub(crate) fn start(id: u64, cores: &Cores) -> Arc<Self> {
        let (core, host) = (id as usize % cores.count(), Host::new(id));
        let any = "127.0.0.1:0".parse().expect("an address");
        let transport = start(id, cores, any, &host);
        let address = transport.local_addr().expect("it listens");
        let (accepted, proxy) = (Arc::default(), Proxy::start(address));
        Arc::new(Self { id, core, host, accepted, address, proxy, transport: Mutex::new(transport) })
    }

    /// The transport that runs now.
    pub(crate) fn transport(&self) -> Transport {
        self.transport.lock().expect("no panic").clone()
    }

    /// Where the others find it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    pub(crate) fn add(&self, other: &Self) {
        self.transport().add_peer(other.id, [other.url()]).expect("a good peer");
    }

    pub(crate) fn stop(&self) {
        assert!(self.transport().stop().wait(PATIENCE), "member {} stops", self.id);
    }

    /// Ends its transport and starts another one in its place.
    pub(crate) fn restart(&self, cores: &Cores, members: &[Arc<Self>]) {
        self.stop();
        *self.transport.lock().expect("no panic") = start(self.id, cores, self.address, &self.host);
        for other in members.iter().filter(|other| other.id != self.id) {
            self.add(other);
        }
    }
}

fn start(id: u64, cores: &Cores, address: SocketAddr, host: &Arc<Host>) -> Transport {
    let mut config = Config::new(id, CLUSTER);
    config.listen = Listen::Address(address);
    let observer = Arc::clone(host);
    config.observer = Arc::new(move |event: &Event| observer.observe(event));
    Transport::start(config, cores, Arc::clone(host) as Arc<dyn Raft>).expect("it starts")
}
