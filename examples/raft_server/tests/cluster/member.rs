//! A member of a cluster: a raft server of ours, or an etcd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;

use crate::door::Door;
use crate::process::Process;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Raftring,
    Etcd,
}

/// Both kinds take the same flags, which is why there is one of these for both.
pub struct Member {
    pub name: String,
    pub kind: Kind,
    pub peer: SocketAddr,
    pub client: SocketAddr,
    /// `--initial-cluster`: `name=url,name=url`.
    pub cluster: String,
    /// `--initial-cluster-state`: `new`, or `existing` if it joins at run time.
    pub state: &'static str,
    /// Flags beyond those of every test.
    pub flags: Vec<String>,
    /// A network namespace in which it lives.
    pub namespace: Option<String>,
    folder: PathBuf,
    process: Option<Process>,
}

impl Member {
    /// One that is not started. Its data and its log are in `folder`.
    pub fn new(name: &str, kind: Kind, (peer, client): (SocketAddr, SocketAddr), folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            peer,
            client,
            cluster: String::new(),
            state: "new",
            flags: Vec::new(),
            namespace: None,
            folder: folder.to_owned(),
            process: None,
        }
    }

    pub fn peer_url(&self) -> String {
        format!("http://{}", self.peer)
    }

    pub fn client_url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// As a client of it.
    pub fn door(&self) -> Door {
        Door::new(self.kind, self.client)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join(format!("{}.data", self.name))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// Everything it logged, in all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    // ---- life and death ------------------------------------------------------------------------

    /// Starts it; the second time it finds the data that it left.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        self.process = Some(Process::start(&self.name, self.command(), &self.log_path()));
    }

    fn command(&self) -> Command {
        let mut command = self.program();
        command
            .args(["--name", &self.name, "--data-dir"])
            .arg(self.data())
            .args(["--initial-cluster", &self.cluster, "--initial-cluster-state", self.state])
            .args(["--initial-advertise-peer-urls", &self.peer_url()])
            .args(["--listen-peer-urls", &self.peer_url()])
            .args(["--listen-client-urls", &self.client_url()]);
        if self.kind == Kind::Etcd {
            command.args(["--advertise-client-urls", &self.client_url()]);
            command.args(["--logger", "zap", "--log-outputs", "stderr"]);
        }
        command.args(&self.flags);
        command
    }

    fn program(&self) -> Command {
        let program = match self.kind {
            Kind::Raftring => env!("CARGO_BIN_EXE_raft_server"),
            Kind::Etcd => "etcd",
        };
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]);
        command
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// SIGTERM: it ends in order.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// How it ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.take().expect("it runs").wait()
    }
}
