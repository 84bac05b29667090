//! The reads of the doorbell and of the alarm, kept in the ring for as long as the core lives.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use monoio::fs::File;
use monoio::task::JoinHandle;

use super::core::Core;

/// The tasks that hear the doorbell and the alarm.
pub(super) struct Wakes {
    core: Rc<Core>,
    stopped: Rc<Cell<bool>>,
    tasks: [JoinHandle<()>; 2],
}

/// Starts to listen.
pub(super) fn listen(core: &Rc<Core>) -> io::Result<Wakes> {
    let (doorbell, alarm) = (core.shared.doorbell.descriptor()?, core.shared.alarm.descriptor()?);
    let stopped = Rc::new(Cell::new(false));
    let tasks = [
        hear(core, doorbell, &stopped, |_| ())?,
        hear(core, alarm, &stopped, |core| core.shared.alarm.heard())?,
    ];
    Ok(Wakes { core: Rc::clone(core), stopped, tasks })
}

fn hear(
    core: &Rc<Core>,
    descriptor: OwnedFd,
    stopped: &Rc<Cell<bool>>,
    heard: fn(&Core),
) -> io::Result<JoinHandle<()>> {
    let event = File::from_std(std::fs::File::from(descriptor))?;
    let (core, stopped) = (Rc::clone(core), Rc::clone(stopped));
    #[expect(
        clippy::disallowed_methods,
        reason = "it calls nobody who could panic, and is awaited at the end"
    )]
    let task = monoio::spawn(async move {
        let mut count = vec![0_u8; 8];
        while !stopped.get() {
            let (result, buffer) = core.operation(event.read_at(count, 0)).await;
            count = buffer;
            // The turn that looks into the mailbox comes after this.
            heard(&core);
            if result.is_err() {
                // Letters are still found at every tick; a read that fails is not repeated in haste.
                core.sleep(super::core::TICK).await;
            }
        }
    });
    Ok(task)
}

impl Wakes {
    /// Ends the reads and waits for them.
    pub(super) async fn stop(self) {
        self.stopped.set(true);
        self.core.shared.doorbell.arm();
        self.core.shared.doorbell.ring();
        self.core.shared.alarm.ring();
        for task in self.tasks {
            task.await;
        }
    }
}
