//! Which congestion control the sockets use.
//!
//! BBR spaces out what it sends, by a timer of each socket where the queueing discipline does not do
//! it. On loopback there is no bottleneck to spare, and the timers only cost: 4 KiB entries go at
//! 3.8 GB/s under `bbr` and at 8.4 GB/s under `cubic` (`perf/run.sh`).

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, SockRef, Socket, Type};

use crate::error::ConfigError;

/// Which congestion control the sockets of the cores use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CongestionControl {
    /// The system's; but between processes of one machine not one that spaces out what it sends
    /// (`bbr`): there `cubic`, or `reno` where that is missing.
    #[default]
    Auto,
    /// The system's (`net.ipv4.tcp_congestion_control`).
    System,
    /// This one, such as `dctcp`. Starting the cores fails where it may not be used.
    Named(String),
}

/// What does not space out, best first.
const UNPACED: [&str; 2] = ["cubic", "reno"];

/// What is set on sockets; `None` leaves the system's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Congestion {
    loopback: Option<Box<str>>,
    elsewhere: Option<Box<str>>,
}

impl Congestion {
    /// # Errors
    /// One that is named and cannot be used.
    pub(super) fn choose(setting: &CongestionControl) -> Result<Self, ConfigError> {
        match setting {
            CongestionControl::System => Ok(Self::default()),
            CongestionControl::Auto => {
                let loopback = if spaces_out_by_default() { usable(&UNPACED) } else { None };
                Ok(Self { loopback, elsewhere: None })
            }
            CongestionControl::Named(name) => {
                try_out(name).map_err(|error| ConfigError {
                    setting: "congestion_control",
                    advice: format!(
                        "{name:?} cannot be used ({error}): see net.ipv4.tcp_allowed_congestion_control"
                    ),
                })?;
                let name: Option<Box<str>> = Some(name.as_str().into());
                Ok(Self { loopback: name.clone(), elsewhere: name })
            }
        }
    }

    /// Sets it on a connected socket. A socket that refuses keeps the system's.
    pub(super) fn set(&self, socket: &SockRef<'_>, remote: SocketAddr) {
        let name = if is_loopback(remote.ip()) { &self.loopback } else { &self.elsewhere };
        if let Some(name) = name {
            let _ = socket.set_tcp_congestion(name.as_bytes());
        }
    }
}

/// Also an address of IPv4 in a socket of IPv6.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn socket() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, None).or_else(|_| Socket::new(Domain::IPV6, Type::STREAM, None))
}

fn spaces_out_by_default() -> bool {
    socket().and_then(|socket| socket.tcp_congestion()).is_ok_and(|name| name.starts_with(b"bbr"))
}

fn usable(names: &[&str]) -> Option<Box<str>> {
    names.iter().find(|name| try_out(name).is_ok()).map(|&name| name.into())
}

fn try_out(name: &str) -> io::Result<()> {
    socket()?.set_tcp_congestion(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn set_on_loopback(setting: &CongestionControl) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let socket = SockRef::from(&stream);
        Congestion::choose(setting).expect("usable").set(&socket, stream.peer_addr().expect("connected"));
        let name = socket.tcp_congestion().expect("every socket has one");
        String::from_utf8(name).expect("ASCII").trim_end_matches('\0').to_owned()
    }

    #[test]
    fn nothing_on_loopback_spaces_out_what_it_sends() {
        assert!(!set_on_loopback(&CongestionControl::Auto).starts_with("bbr"));
    }

    #[test]
    fn one_that_is_named_is_used_or_refused_at_once() {
        assert_eq!(set_on_loopback(&CongestionControl::Named("reno".to_owned())), "reno");
        let error = Congestion::choose(&CongestionControl::Named("no-such".to_owned())).expect_err("refused");
        assert_eq!(error.setting, "congestion_control");
    }

    #[test]
    fn an_address_of_this_machine_is_known_in_both_families() {
        for (address, is_local) in
            [("127.0.0.2", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)]
        {
            assert_eq!(is_loopback(address.parse().expect("an address")), is_local, "{address}");
        }
    }
}
