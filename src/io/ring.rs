//! Building a core's ring, and saying clearly why it cannot be built.

use std::io;

use io_uring::IoUring;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use super::sys;
use crate::error::StartError;

/// The oldest kernel that is supported: DEFER_TASKRUN and SINGLE_ISSUER are there, and a full
/// completion queue no longer loses events.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// monoio's own floor; where memory is locked tightly a ring is tried down to this size.
pub(super) const ENTRIES_MIN: u32 = 256;

/// The kernel's own ceiling.
pub(super) const ENTRIES_MAX: u32 = 32_768;

pub(super) type CoreRuntime = Runtime<TimeDriver<IoUringDriver>>;

/// The ring of the current thread, at most `entries` large, halved where locked memory is scarce.
///
/// COOP_TASKRUN and SINGLE_ISSUER: completions are handled when the core enters the kernel, never
/// by an interrupt of its other work. (With DEFER_TASKRUN a core that spins would never see one.)
pub(super) fn build(mut entries: u32) -> Result<CoreRuntime, StartError> {
    check_kernel()?;
    sys::probe_ring().map_err(unavailable)?;
    loop {
        let mut ring = IoUring::builder();
        ring.setup_coop_taskrun().setup_single_issuer();
        match RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(entries)
            .uring_builder(ring)
            .enable_timer()
            .build()
        {
            Ok(runtime) => return Ok(runtime),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && entries > ENTRIES_MIN => entries /= 2,
            Err(error) => return Err(unavailable(error)),
        }
    }
}

fn check_kernel() -> Result<(), StartError> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if parse_release(&release).is_some_and(|version| version < KERNEL_MIN) {
        let advice = format!("this kernel is {release}; run 6.1 or newer");
        return Err(StartError::RingUnavailable { error: io::ErrorKind::Unsupported.into(), advice });
    }
    Ok(())
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn unavailable(error: io::Error) -> StartError {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let advice = advice(&error, sysctl.trim()).to_owned();
    StartError::RingUnavailable { error, advice }
}

/// What a refusal means and what to do about it.
fn advice(error: &io::Error, sysctl: &str) -> &'static str {
    match (error.raw_os_error(), sysctl) {
        (Some(libc::EPERM | libc::EACCES), "2") => {
            "it is switched off for everyone: set the sysctl kernel.io_uring_disabled to 0"
        }
        (Some(libc::EPERM | libc::EACCES), "1") => {
            "it is switched off for unprivileged processes: set the sysctl kernel.io_uring_disabled to 0, \
             or add this process's group to kernel.io_uring_group"
        }
        (Some(libc::EPERM | libc::EACCES | libc::ENOSYS), _) => {
            "a seccomp filter or the kernel's build forbids it: allow the system calls io_uring_setup, \
             io_uring_enter and io_uring_register (in a container: its seccomp profile)"
        }
        (Some(libc::ENOMEM), _) => {
            "the limit on locked memory is too low for a ring of 256 entries: raise it (ulimit -l, \
             LimitMEMLOCK= in a systemd unit) or start fewer cores"
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => "out of file descriptors: raise the limit (ulimit -n)",
        (Some(libc::EINVAL), _) => {
            "the kernel does not know the ring flags that are needed: run 6.1 or newer"
        }
        _ => "see the kernel's message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(parse_release("6.18.44-generic"), Some((6, 18)));
        assert_eq!(parse_release("5.4"), Some((5, 4)));
        assert_eq!(parse_release("what"), None);
    }

    #[test]
    fn every_known_refusal_names_its_cure() {
        let of = |errno, sysctl| advice(&io::Error::from_raw_os_error(errno), sysctl);
        assert!(of(libc::EPERM, "2").contains("kernel.io_uring_disabled"));
        assert!(of(libc::EPERM, "1").contains("io_uring_group"));
        assert!(of(libc::EPERM, "0").contains("seccomp"));
        assert!(of(libc::ENOSYS, "").contains("seccomp"));
        assert!(of(libc::ENOMEM, "0").contains("ulimit -l"));
        assert!(of(libc::EMFILE, "0").contains("ulimit -n"));
    }
}
