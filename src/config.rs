//! What a transport is told once, checked before anything starts.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::event::{NoObserver, Observer};
use crate::id::{ClusterId, MemberId};
use crate::proto::codec::{Dialect, FrameLimits};
use crate::proto::handshake::Identity;
use crate::proto::peer_url::{PeerUrl, PeerUrls};
use crate::proto::pipeline::{PIPELINE_MESSAGES_MAX, POST_TIMEOUT};
use crate::proto::probe::PROBE_INTERVAL;
use crate::proto::stream::LANE_MESSAGES_MAX;
use crate::proto::version::{Version, Versions};
use crate::routes::Routes;

/// Where the transport listens; apart from the advertised URLs, for addresses behind a NAT.
#[derive(Debug, Default)]
pub enum Listen {
    /// It does not: such a member is reached by nobody and only dials.
    #[default]
    Nowhere,
    /// It binds this address; port 0 takes a free one (see `Transport::local_addr`).
    Address(SocketAddr),
    /// It binds a unix socket of this name. A file that another process left there is replaced unless
    /// somebody still listens; it is removed when the transport stops. Who may connect is decided by the
    /// file's directory.
    Unix(PathBuf),
    /// It takes over a socket that the host bound. Stopping the transport shuts it down.
    Listener(TcpListener),
}

impl Listen {
    /// Where a peer URL says, as etcd's `--listen-peer-urls`: `http://` with an address and not a name,
    /// or `unix://`, of which all that follows is the file's name, a `host:port` too.
    ///
    /// # Errors
    /// Not a peer URL, one with a name, or one that wants TLS.
    pub fn url(url: &str) -> Result<Self, ConfigError> {
        let wrong = |advice: String| ConfigError { setting: "listen", advice };
        let url = PeerUrl::parse(url).map_err(|error| wrong(error.to_string()))?;
        url.dialable().map_err(|error| wrong(error.to_string()))?;
        let Some(port) = url.port() else { return Ok(Self::Unix(url.host().into())) };
        let address = url.host().parse().map_err(|_| {
            wrong(format!("{url}: give an address to listen on, like http://10.0.0.1:{port}"))
        })?;
        Ok(Self::Address(SocketAddr::new(address, port)))
    }
}

/// Which cores do the work of a transport.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Placement {
    /// The listener and each peer on the core that has the least to do when it is added.
    #[default]
    Spread,
    /// All of it on this core, unless a peer is placed elsewhere by `Transport::add_peer_on`.
    Core(usize),
}

/// Settings of one transport. [`Config::new`] fills in etcd's defaults.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// Our own id; not 0.
    pub id: MemberId,
    /// The cluster's id; not 0.
    pub cluster_id: ClusterId,
    /// The member's name, which `Transport::server_stats` tells. May be empty.
    pub name: String,
    /// Our own URLs, told to other members in `X-PeerURLs`. May be empty.
    pub peer_urls: Vec<String>,
    /// Where to listen.
    pub listen: Listen,
    /// Which cores own this transport's connections.
    pub placement: Placement,
    /// Which etcd release's bytes to produce; all are read.
    pub dialect: Dialect,
    /// `X-Server-Version`: an etcd release that exists, for real members look its minor up.
    pub server_version: Version,
    /// Between two link heartbeats: a third of etcd's read timeout, 5 s / 3.
    pub heartbeat_interval: Duration,
    /// Silence on a stream that ends it. 5 s.
    pub read_timeout: Duration,
    /// A write that moves nothing for so long ends the stream. 5 s.
    pub write_timeout: Duration,
    /// For a TCP connection and the answer to its request. 2 s: etcd's 1 s + election timeout.
    pub dial_timeout: Duration,
    /// Dials per second and stream after the first two. 10.
    pub dial_frequency: f64,
    /// Bounds of frames.
    pub frames: FrameLimits,
    /// Messages queued per peer and stream. 4,096. Where more than appends waits, on the `message`
    /// stream, appends fill three quarters of it, proposals 7/8, acks 15/16, votes and heartbeats all.
    pub lane_messages_max: usize,
    /// Bytes queued per peer and stream, shared likewise. 64 MiB: a follower that is cut off costs no
    /// more.
    pub lane_bytes_max: usize,
    /// Messages that wait for a `POST /raft` to one peer or remote, beside the four in flight. 64. Their
    /// bytes are bounded by `lane_bytes_max`.
    pub pipeline_messages_max: usize,
    /// For the answer to a `POST /raft`, once its body is written. 10 s: etcd waits for ever, and may have
    /// to wait 7 s for its own raft.
    pub post_timeout: Duration,
    /// Connections whose handshake is not complete. 256: fifty peers, four connections each, and
    /// some probes.
    pub handshakes_max: usize,
    /// The same from one address. 32.
    pub handshakes_per_address_max: usize,
    /// Bytes of a database that is received. 16 GiB, twice the largest that etcd recommends.
    pub snapshot_bytes_max: u64,
    /// A snapshot that moves less than 1 KiB a second for so long is given up. 30 s.
    pub snapshot_stall_timeout: Duration,
    /// What came of a snapshot that was cut is kept for so long, for a sender that is raftring too and
    /// comes again. 2 minutes; zero keeps nothing.
    pub snapshot_resume_time: Duration,
    /// Between two probes of a peer by each of the two probers. 4 s: less than the 5 s for which
    /// a member keeps an idle connection. `None` sends no probes; they are answered all the same.
    pub probe_interval: Option<Duration>,
    /// Measures round trips of the streams on their own connections, where the other end does too:
    /// `PeerStats::round_trips`. On; it costs a header in the request for a stream, which etcd ignores,
    /// and where it is answered one byte a link heartbeat.
    pub stream_round_trips: bool,
    /// Serves paths that are not the transport's, as `/version`; without it they are answered with
    /// 404.
    pub routes: Option<Arc<dyn Routes>>,
    /// For the host's answer on such a path. 7 s, as etcd allows for `/version`.
    pub route_timeout: Duration,
    /// Bytes of the body of such a request. 1 MiB.
    pub route_body_bytes_max: usize,
    /// Told of everything that happens.
    pub observer: Arc<dyn Observer>,
}

/// No timeout may be shorter: the core looks at its deadlines every 100 ms.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);

/// No timeout may be longer: a peer that is dead for an hour is dead.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Dials per second: no pause may be longer than the longest timeout, or too long for a clock.
const DIAL_FREQUENCY_MIN: f64 = 0.001;

/// More than that is an attack.
const DIAL_FREQUENCY_MAX: f64 = 1_000.0;

/// A frame must hold what raft sends as one message at least: an entry and its message.
const FRAME_BYTES_MIN: usize = 64 << 10;

/// More than any raft log takes as one message.
const FRAME_BYTES_MAX: usize = 2 << 30;

/// Anybody may send such a body, and 64 of them at once.
const ROUTE_BODY_BYTES_MAX: usize = 64 << 20;

impl Config {
    /// etcd's defaults for this member of this cluster.
    pub fn new(id: impl Into<MemberId>, cluster_id: impl Into<ClusterId>) -> Self {
        Self {
            id: id.into(),
            cluster_id: cluster_id.into(),
            name: String::new(),
            peer_urls: Vec::new(),
            listen: Listen::Nowhere,
            placement: Placement::Spread,
            dialect: Dialect::default(),
            server_version: Version::SERVER,
            heartbeat_interval: Duration::from_millis(1_667),
            read_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(2),
            dial_frequency: 10.0,
            frames: FrameLimits::default(),
            lane_messages_max: LANE_MESSAGES_MAX,
            lane_bytes_max: 64 << 20,
            pipeline_messages_max: PIPELINE_MESSAGES_MAX,
            post_timeout: POST_TIMEOUT,
            handshakes_max: 256,
            handshakes_per_address_max: 32,
            snapshot_bytes_max: 16 << 30,
            snapshot_stall_timeout: Duration::from_secs(30),
            snapshot_resume_time: Duration::from_secs(120),
            probe_interval: Some(PROBE_INTERVAL),
            stream_round_trips: true,
            routes: None,
            route_timeout: Duration::from_secs(7),
            route_body_bytes_max: 1 << 20,
            observer: Arc::new(NoObserver),
        }
    }

    /// Refuses what cannot work, with a sentence that says what to do.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |setting, advice: &str| Err(ConfigError { setting, advice: advice.to_owned() });
        if self.id == MemberId(0) {
            return wrong("id", "0 names nobody: give the member's own id");
        }
        if self.cluster_id == ClusterId(0) {
            return wrong("cluster_id", "0 names no cluster: give the id all members share");
        }
        if !self.peer_urls.is_empty() {
            PeerUrls::parse(&self.peer_urls)
                .map_err(|e| ConfigError { setting: "peer_urls", advice: e.to_string() })?;
        }
        if !self.server_version.supports_streams() {
            return wrong(
                "server_version",
                "give an etcd release from 3.0.0 to 3.8.0: members look its minor up",
            );
        }
        self.validate_times()?;
        self.validate_bounds()
    }

    /// What is said of us in handshakes; only after [`Config::validate`].
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            member: self.id,
            cluster: self.cluster_id,
            versions: Versions { server: self.server_version.clone(), min_cluster: Version::MIN_CLUSTER },
            peer_urls: PeerUrls::parse(&self.peer_urls).ok(),
            echoes: self.stream_round_trips,
        }
    }

    fn validate_bounds(&self) -> Result<(), ConfigError> {
        let wrong = |setting, advice: &str| Err(ConfigError { setting, advice: advice.to_owned() });
        if !(DIAL_FREQUENCY_MIN..=DIAL_FREQUENCY_MAX).contains(&self.dial_frequency) {
            return wrong("dial_frequency", "give dials per second, from 0.001 to 1,000; etcd uses 10");
        }
        if self.lane_messages_max == 0 || self.lane_messages_max > 1 << 20 {
            return wrong("lane_messages_max", "give 1 to 1,048,576 messages; etcd uses 4,096");
        }
        if self.lane_bytes_max < 1 << 10 {
            return wrong("lane_bytes_max", "give at least 1,024 bytes; the default is 64 MiB");
        }
        if self.pipeline_messages_max == 0 || self.pipeline_messages_max > 1 << 20 {
            return wrong("pipeline_messages_max", "give 1 to 1,048,576 messages; etcd uses 64");
        }
        if self.handshakes_max == 0 {
            return wrong("handshakes_max", "with 0 nobody could ever connect; the default is 256");
        }
        if self.handshakes_per_address_max == 0 {
            return wrong(
                "handshakes_per_address_max",
                "with 0 nobody could ever connect; the default is 32",
            );
        }
        if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&self.frames.frame_bytes_max) {
            return wrong("frames.frame_bytes_max", "give 64 KiB to 2 GiB; etcd uses 512 MiB");
        }
        if self.route_body_bytes_max > ROUTE_BODY_BYTES_MAX {
            return wrong("route_body_bytes_max", "give at most 64 MiB; the default is 1 MiB");
        }
        if self.frames.entries_max == 0 {
            return wrong("frames.entries_max", "with 0 no entry could ever come in; the default is 2^20");
        }
        if self.snapshot_bytes_max == 0 {
            return wrong(
                "snapshot_bytes_max",
                "with 0 no snapshot could ever come in; the default is 16 GiB",
            );
        }
        Ok(())
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        let times = [
            ("heartbeat_interval", self.heartbeat_interval),
            ("read_timeout", self.read_timeout),
            ("write_timeout", self.write_timeout),
            ("dial_timeout", self.dial_timeout),
            ("post_timeout", self.post_timeout),
            ("snapshot_stall_timeout", self.snapshot_stall_timeout),
            ("route_timeout", self.route_timeout),
            ("probe_interval", self.probe_interval.unwrap_or(PROBE_INTERVAL)),
        ];
        for (setting, time) in times {
            if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&time) {
                let advice = format!("{time:?} is out of range: give 200 ms to 1 h");
                return Err(ConfigError { setting, advice });
            }
        }
        if self.snapshot_resume_time > TIMEOUT_MAX {
            let advice = format!("{:?} is out of range: give up to 1 h", self.snapshot_resume_time);
            return Err(ConfigError { setting: "snapshot_resume_time", advice });
        }
        if self.heartbeat_interval * 2 > self.read_timeout {
            let advice = "must be at most half of read_timeout, or one late heartbeat ends a stream; etcd uses a third";
            return Err(ConfigError { setting: "heartbeat_interval", advice: advice.to_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> &'static str {
        let mut config = Config::new(1, 2);
        change(&mut config);
        config.validate().expect_err("refused").setting
    }

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(Config::new(1, 2).validate(), Ok(()));
    }

    #[test]
    fn a_url_says_where_to_listen() {
        let listen = |url: &str| Listen::url(url).expect("a place to listen");
        assert!(
            matches!(listen(" http://[::1]:2380"), Listen::Address(at) if at == "[::1]:2380".parse().expect("one"))
        );
        assert!(matches!(listen("http://10.0.0.1:1"), Listen::Address(at) if at.port() == 1));
        assert!(matches!(listen("unix://localhost:2380"), Listen::Unix(path) if path == *"localhost:2380"));
        assert!(matches!(listen("unix:///run/m.sock"), Listen::Unix(path) if path == *"/run/m.sock"));
        for url in ["https://10.0.0.1:1", "unixs://a", "http://a:1", "a:1"] {
            assert_eq!(Listen::url(url).expect_err(url).setting, "listen");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_at_once_and_named() {
        assert_eq!(refused(|c| c.id = MemberId(0)), "id");
        assert_eq!(refused(|c| c.cluster_id = ClusterId(0)), "cluster_id");
        assert_eq!(refused(|c| c.peer_urls = vec!["ftp://x:1".into()]), "peer_urls");
        assert_eq!(refused(|c| c.server_version = Version::new(4, 0, 0)), "server_version");
        assert_eq!(refused(|c| c.read_timeout = Duration::ZERO), "read_timeout");
        assert_eq!(refused(|c| c.dial_timeout = Duration::MAX), "dial_timeout");
        assert_eq!(refused(|c| c.heartbeat_interval = Duration::from_secs(4)), "heartbeat_interval");
        assert_eq!(refused(|c| c.dial_frequency = -1.0), "dial_frequency");
        assert_eq!(refused(|c| c.dial_frequency = f64::NAN), "dial_frequency");
        assert_eq!(refused(|c| c.dial_frequency = 1e-30), "dial_frequency");
        assert_eq!(refused(|c| c.lane_messages_max = 0), "lane_messages_max");
        assert_eq!(refused(|c| c.lane_bytes_max = 1), "lane_bytes_max");
        assert_eq!(refused(|c| c.pipeline_messages_max = 0), "pipeline_messages_max");
        assert_eq!(refused(|c| c.post_timeout = Duration::ZERO), "post_timeout");
        assert_eq!(refused(|c| c.handshakes_max = 0), "handshakes_max");
        assert_eq!(refused(|c| c.handshakes_per_address_max = 0), "handshakes_per_address_max");
        assert_eq!(refused(|c| c.frames.frame_bytes_max = 1), "frames.frame_bytes_max");
        assert_eq!(refused(|c| c.frames.entries_max = 0), "frames.entries_max");
        assert_eq!(refused(|c| c.snapshot_bytes_max = 0), "snapshot_bytes_max");
        assert_eq!(refused(|c| c.snapshot_stall_timeout = Duration::ZERO), "snapshot_stall_timeout");
        assert_eq!(refused(|c| c.snapshot_resume_time = Duration::MAX), "snapshot_resume_time");
        assert_eq!(refused(|c| c.probe_interval = Some(Duration::ZERO)), "probe_interval");
        assert_eq!(refused(|c| c.route_timeout = Duration::ZERO), "route_timeout");
        assert_eq!(refused(|c| c.route_body_bytes_max = usize::MAX), "route_body_bytes_max");
    }
}
