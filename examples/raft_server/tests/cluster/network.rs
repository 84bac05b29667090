//! A network of its own for each member: a namespace, one link to the bridge where peers meet, and one
//! to the test, which is the members' client.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use crate::cluster::Cluster;

/// Every namespace has these for itself.
const PEER_PORT: u16 = 2380;
const CLIENT_PORT: u16 = 2379;

/// Everything in it is gone when it is dropped.
pub struct Network {
    /// What all names begin with: no other process has it.
    prefix: String,
    /// The third byte of all addresses, in the range for benchmarks that no network routes.
    subnet: u8,
    members: usize,
}

impl Network {
    /// `None` where networks cannot be made, which is said where nobody can miss it.
    pub fn new(members: usize) -> Option<Self> {
        let process = std::process::id();
        let subnet = (process % 256) as u8;
        let network = Self { prefix: format!("rr{}", process % 1_000_000), subnet, members };
        match network.build() {
            Ok(()) => Some(network),
            Err(why) => {
                let text = format!("\nSKIPPED: no network namespaces here: {why}\n\n");
                let _ = std::io::stderr().write_all(text.as_bytes());
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        ip(&format!("link add {} type bridge", self.bridge()))?;
        ip(&format!("link set {} up", self.bridge()))?;
        for member in 0..self.members {
            let namespace = self.namespace(member);
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            self.link(member, &self.peer_link(member), self.peer_address(member), 24)?;
            self.link(member, &self.client_link(member), self.client_address(member), 30)?;
            self.mend(member)?;
            // The test's end of the members' link to clients: the address before theirs.
            let ours = Ipv4Addr::from_bits(self.client_address(member).to_bits() - 1);
            ip(&format!("addr add {ours}/30 dev {}", self.client_link(member)))?;
        }
        Ok(())
    }

    /// A pair of interfaces, one of them inside and with this address.
    fn link(&self, member: usize, name: &str, address: Ipv4Addr, prefix_length: u8) -> Result<(), String> {
        let namespace = self.namespace(member);
        ip(&format!("link add {name} type veth peer name {name}i netns {namespace}"))?;
        ip(&format!("-n {namespace} addr add {address}/{prefix_length} dev {name}i"))?;
        ip(&format!("-n {namespace} link set {name}i up"))?;
        ip(&format!("link set {name} up"))
    }

    /// Its packets reach no peer any more and none reach it; nobody is told. Its clients still reach it.
    pub fn cut(&self, member: usize) {
        ip(&format!("link set {} nomaster", self.peer_link(member))).expect("it was linked");
    }

    pub fn mend(&self, member: usize) -> Result<(), String> {
        ip(&format!("link set {} master {}", self.peer_link(member), self.bridge()))
    }

    /// Moves members that are not started yet into it.
    pub fn adopt(&self, cluster: &mut Cluster) {
        for (at, member) in cluster.members.iter_mut().enumerate() {
            member.namespace = Some(self.namespace(at));
            member.peer = SocketAddr::from((self.peer_address(at), PEER_PORT));
            member.client = SocketAddr::from((self.client_address(at), CLIENT_PORT));
        }
        cluster.introduce();
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    fn namespace(&self, member: usize) -> String {
        format!("{}n{member}", self.prefix)
    }

    fn peer_link(&self, member: usize) -> String {
        format!("{}p{member}", self.prefix)
    }

    fn client_link(&self, member: usize) -> String {
        format!("{}c{member}", self.prefix)
    }

    fn peer_address(&self, member: usize) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.subnet, member as u8 + 1)
    }

    fn client_address(&self, member: usize) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, self.subnet, member as u8 * 4 + 2)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for member in 0..self.members {
            // Its ends of the links go with it, and so do the others.
            let _ = ip(&format!("netns delete {}", self.namespace(member)));
        }
        let _ = ip(&format!("link delete {}", self.bridge()));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let out = Command::new("ip").args(arguments.split(' ')).stdin(Stdio::null()).output();
    let out = out.map_err(|error| format!("ip: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}
