//! Addresses that nobody else has.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A loopback address that no other test has, in this process or another: the ports on it are ours.
pub fn own() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let host = std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 64;
    Ipv4Addr::from_bits(0x7f00_0000 | (host & 0x00ff_ffff).max(2)).into()
}

/// Two ports on this address that nobody listens on: one for peers, one for clients.
pub fn two_free(address: IpAddr) -> (SocketAddr, SocketAddr) {
    let [peer, client] = [(); 2].map(|()| TcpListener::bind((address, 0)).expect("a free port"));
    let bound = |listener: &TcpListener| listener.local_addr().expect("it is bound");
    (bound(&peer), bound(&client))
}
