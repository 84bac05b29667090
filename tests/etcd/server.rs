//! A real etcd in a process of its own, and etcdctl.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// True if the tests of this file cannot run here, which is said where nobody can miss it.
///
/// # Panics
/// If `RAFTRING_REQUIRE_ETCD` is 1: where etcd was installed on purpose, skipping is failing.
pub fn is_missing() -> bool {
    if runs("etcd", "--version") && runs("etcdctl", "version") {
        return false;
    }
    let required = std::env::var("RAFTRING_REQUIRE_ETCD").is_ok_and(|value| value == "1");
    assert!(!required, "RAFTRING_REQUIRE_ETCD is set, but etcd and etcdctl cannot be started");
    // Past the test harness, which would swallow what a passing test prints.
    let _ = std::io::stderr().write_all(b"\nSKIPPED: etcd is not installed\n\n");
    true
}

fn runs(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.env("ETCDCTL_API", "3").arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A loopback address that no other test has, in this process or another: the ports on it are ours.
pub fn own_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let host = std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 64;
    Ipv4Addr::from_bits(0x7f00_0000 | (host & 0x00ff_ffff).max(2)).into()
}

/// A port on this address that nobody listens on.
pub fn free_port(address: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("loopback has free ports");
    listener.local_addr().expect("it is bound")
}

/// A member of a cluster of two.
pub struct Etcd {
    child: Mutex<Option<Child>>,
    dir: PathBuf,
    pub peer: SocketAddr,
    client: SocketAddr,
    other: String,
    /// Flags beyond those of every test.
    pub flags: Vec<&'static str>,
}

impl Etcd {
    /// One that is not started yet; `other_url` is the other member's.
    pub fn new(address: IpAddr, other_url: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("raftring-etcd-{address}"));
        let _ = std::fs::remove_dir_all(&dir); // of a process that was killed and had our number
        std::fs::create_dir_all(&dir).expect("a directory for etcd");
        let (peer, client) = (free_port(address), free_port(address));
        Self { child: Mutex::default(), dir, peer, client, other: other_url.to_owned(), flags: Vec::new() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.peer)
    }

    /// Starts it; the second time it finds the data that it left.
    pub fn start(&self) {
        assert!(self.child().is_none(), "it runs");
        let client = format!("http://{}", self.client);
        let cluster = format!("etcd={},raftring={}", self.url(), self.other);
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let child = Command::new("etcd")
            .args(["--name", "etcd", "--data-dir"])
            .arg(self.dir.join("data"))
            .args(["--initial-cluster", &cluster, "--initial-advertise-peer-urls", &self.url()])
            .args(["--listen-peer-urls", &self.url()])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--logger", "zap", "--log-outputs", "stderr"])
            .args(&self.flags)
            // Its statistics are served with the old API alone, which 3.6 has no more.
            .env("ETCD_ENABLE_V2", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        *self.child() = Some(child);
    }

    /// SIGKILL: it writes and says nothing any more.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child();
        let pid = Pid::from_child(child.as_ref().expect("it was started"));
        kill_process(pid, signal).expect("it is our child");
    }

    pub fn is_running(&self) -> bool {
        self.child().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    // ---- as a client ---------------------------------------------------------------------------

    /// One `etcdctl put`, which gives up after `timeout`.
    pub fn put(&self, key: &str, value: &str, timeout: Duration) -> Result<(), String> {
        self.etcdctl(&["put", key, value], timeout).map(drop)
    }

    /// `etcdctl put` again and again until one succeeds; how long that took.
    pub fn put_until_it_works(&self, key: &str, value: &str, timeout: Duration) -> Duration {
        let began = Instant::now();
        loop {
            match self.put(key, value, Duration::from_millis(500)) {
                Ok(()) => return began.elapsed(),
                Err(error) => assert!(began.elapsed() < timeout, "no put worked: {error}"),
            }
        }
    }

    /// `etcdctl get`: a linearizable read, for which the leader asks its followers.
    pub fn get(&self, key: &str) -> Result<String, String> {
        let out = self.etcdctl(&["get", "--print-value-only", key], Duration::from_secs(5))?;
        Ok(out.trim_end_matches('\n').to_owned())
    }

    /// A folder beside its data, which goes with it.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn etcdctl(&self, args: &[&str], timeout: Duration) -> Result<String, String> {
        // Its own timeouts bound it; `timeout` bounds it if it should hang.
        let child = Command::new("timeout")
            .env("ETCDCTL_API", "3")
            .args(["--signal", "KILL", "20", "etcdctl"])
            .args(["--endpoints", &format!("http://{}", self.client)])
            .args(["--dial-timeout", "500ms", "--command-timeout", &format!("{}ms", timeout.as_millis())])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl starts");
        let Output { status, stdout, stderr } = child.wait_with_output().expect("etcdctl ends");
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&stderr).into_owned())
    }

    /// All of its metrics.
    pub fn metrics(&self) -> String {
        self.http_get("/metrics").expect("etcd tells its metrics")
    }

    /// The sum of one of its metrics over all labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The body of what it answers on this path, `None` if it has no such page.
    pub fn page(&self, path: &str) -> Option<String> {
        let answer = self.http_get(path).expect("etcd answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        head.contains(" 200 ").then(|| body.to_owned())
    }

    /// What it answers to a client, with its head.
    pub fn http_get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.client, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // HTTP/1.0, so that the body comes in one piece and ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.client)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            println!("---- the end of etcd's log");
            for line in &lines[lines.len().saturating_sub(60)..] {
                println!("{line}");
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
