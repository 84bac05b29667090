//! Errors of the public surface, by who can do something about them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cores::PinError;
use crate::id::MemberId;

/// A setting that cannot work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The field of `Config` or `CoresConfig`.
    pub setting: &'static str,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.advice)
    }
}

impl std::error::Error for ConfigError {}

/// Why cores or a transport did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    Config(ConfigError),
    /// A core cannot be pinned where it was asked to be.
    Pin(PinError),
    /// io_uring cannot be used here; the sentence names the cause and the cure.
    RingUnavailable {
        /// What the kernel said.
        error: io::Error,
        /// What that means and what to do.
        advice: String,
    },
    /// The address cannot be bound.
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The unix socket cannot be bound.
    BindUnix {
        /// Its name.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The system is out of threads or descriptors.
    System(io::Error),
    /// The cores were stopped.
    CoresStopped,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Pin(error) => error.fmt(f),
            Self::RingUnavailable { error, advice } => {
                write!(f, "io_uring is not available ({error}): {advice}")
            }
            Self::Bind { address, error } if is_out_of_descriptors(error) => {
                write!(f, "cannot listen on {address}: {}", Advised(error))
            }
            Self::Bind { address, error } => {
                write!(
                    f,
                    "cannot listen on {address} ({error}): choose a free address of this machine, or port 0"
                )
            }
            Self::BindUnix { path, error } if is_out_of_descriptors(error) => {
                write!(f, "cannot listen on {}: {}", path.display(), Advised(error))
            }
            Self::BindUnix { path, error } => {
                write!(
                    f,
                    "cannot listen on {} ({error}): choose a name of at most 107 bytes in a directory that \
                     may be written, where no other file is and nobody listens",
                    path.display()
                )
            }
            Self::System(error) if is_out_of_descriptors(error) => Advised(error).fmt(f),
            Self::System(error) => write!(f, "the system refused: {error}"),
            Self::CoresStopped => f.write_str("these cores were stopped: start new ones"),
        }
    }
}

impl std::error::Error for StartError {}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// What the kernel said, with the cure if it is out of descriptors.
pub(crate) struct Advised<'a>(pub(crate) &'a io::Error);

impl fmt::Display for Advised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        match error.raw_os_error() {
            Some(libc::EMFILE) => write!(
                f,
                "out of file descriptors ({error}): raise the limit (ulimit -n, LimitNOFILE= in a systemd unit)"
            ),
            Some(libc::ENFILE) => {
                write!(f, "the system is out of file descriptors ({error}): raise the sysctl fs.file-max")
            }
            _ => error.fmt(f),
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<PinError> for StartError {
    fn from(error: PinError) -> Self {
        Self::Pin(error)
    }
}

/// A peer that cannot be added or changed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PeerError {
    /// Id 0, or our own.
    Id {
        /// The id given.
        id: MemberId,
        /// What is wrong with it.
        advice: &'static str,
    },
    /// A URL that does not work.
    Url(String),
    /// There is no such core.
    Core {
        /// The number given.
        core: usize,
        /// How many there are.
        cores: usize,
    },
    /// The transport was stopped.
    Stopped,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { id, advice } => write!(f, "peer id {id}: {advice}"),
            Self::Url(advice) => f.write_str(advice),
            Self::Core { core, cores } => {
                write!(f, "there is no core {core}; choose from 0 to {}", cores.saturating_sub(1))
            }
            Self::Stopped => f.write_str("the transport was stopped"),
        }
    }
}

impl std::error::Error for PeerError {}
