//! A program in a process of its own, and what it logged.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// It is killed when it is dropped; if a test fails meanwhile, the end of its log is printed.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says is appended to the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log");
        let other = file.try_clone().expect("a second descriptor");
        let child = command.stdin(Stdio::null()).stdout(other).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `Signal::STOP` pauses it and `Signal::CONT` lets it go on.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child");
    }

    /// SIGKILL: it writes and says nothing any more.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended by itself, or by a signal that it minds.
    pub fn wait(&mut self) -> ExitStatus {
        until(format_args!("the end of {}", self.name), || self.child.try_wait().expect("our child"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            print_end(&self.name, &self.log);
        }
    }
}

/// The last lines of a log.
fn print_end(name: &str, log: &Path) {
    const LINES: usize = 60;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    println!("---- the end of the log of {name}");
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        println!("{line}");
    }
}
