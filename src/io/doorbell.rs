//! The doorbell's read, kept in the ring for as long as the core lives.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use monoio::fs::File;
use monoio::task::JoinHandle;

use super::core::Core;

/// The task that hears the doorbell.
pub(super) struct Listener {
    core: Rc<Core>,
    stopped: Rc<Cell<bool>>,
    task: JoinHandle<()>,
}

/// Starts to listen.
pub(super) fn listen(core: &Rc<Core>) -> io::Result<Listener> {
    let event = File::from_std(std::fs::File::from(core.shared.doorbell.descriptor()?))?;
    let stopped = Rc::new(Cell::new(false));
    let (of_task, stop) = (Rc::clone(core), Rc::clone(&stopped));
    #[expect(
        clippy::disallowed_methods,
        reason = "it calls nobody who could panic, and is awaited at the end"
    )]
    let task = monoio::spawn(async move {
        let mut count = vec![0_u8; 8];
        while !stop.get() {
            let (result, buffer) = of_task.operation(event.read_at(count, 0)).await;
            count = buffer;
            if result.is_err() {
                // Letters are still found at every tick; a read that fails is not repeated in haste.
                of_task.sleep(super::core::TICK).await;
            }
        }
    });
    Ok(Listener { core: Rc::clone(core), stopped, task })
}

impl Listener {
    /// Ends the read and waits for it.
    pub(super) async fn stop(self) {
        self.stopped.set(true);
        self.core.shared.doorbell.arm();
        self.core.shared.doorbell.ring();
        self.task.await;
    }
}
