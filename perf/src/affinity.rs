//! Which cores there are, and staying on one of them.

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Refuses cores that this process may not run on.
pub fn check(cores: &[usize]) -> Result<()> {
    ensure!(!cores.is_empty(), "--cores names no core: give a list such as 0,1");
    let allowed = sched_getaffinity(None).context("cannot ask which cores this process may use")?;
    let known: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    for (at, core) in cores.iter().enumerate() {
        ensure!(
            known.contains(core),
            "core {core} of --cores does not exist or may not be used here: choose from {known:?}"
        );
        ensure!(!cores[..at].contains(core), "--cores names core {core} twice: name each once");
    }
    Ok(())
}

/// Keeps the calling thread on `core`.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("cannot pin a thread to core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_that_do_not_exist_are_refused() {
        assert!(check(&[CpuSet::MAX_CPU + 1]).is_err());
        assert!(check(&[]).is_err());
        assert!(check(&[0, 0]).expect_err("named twice").to_string().contains("twice"));
    }
}
