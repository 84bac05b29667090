//! One line of progress on a terminal; silence anywhere else.

use std::io::{IsTerminal, Write, stderr};
use std::thread;
use std::time::{Duration, Instant};

/// Ten lines a second are seen as motion and cost the measured process next to nothing.
const TICK: Duration = Duration::from_millis(100);

/// One line that is written over and over, on standard error if that is a terminal.
pub struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Shows itself only to people.
    #[must_use]
    pub fn to_terminal() -> Self {
        Self { is_shown: stderr().is_terminal() }
    }

    /// Replaces the line.
    pub fn say(&self, line: &str) {
        if self.is_shown {
            // A terminal that is gone is no reason to end a measurement.
            let _ = write!(stderr(), "\r\x1b[2K{line}");
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.say("");
    }

    /// Sleeps for `time`; a line and a bar tell how far it is.
    pub fn during(&self, time: Duration, mut line: impl FnMut(Duration) -> String) {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            // Without anyone looking there is no reason to wake up before the end.
            thread::sleep(if self.is_shown { left.min(TICK) } else { left });
            if self.is_shown {
                let elapsed = start.elapsed();
                self.say(&format!("{} {}", bar(elapsed, time), line(elapsed)));
            }
        }
    }
}

fn bar(elapsed: Duration, time: Duration) -> String {
    const WIDTH: usize = 20;
    let filled = ((elapsed.as_secs_f64() / time.as_secs_f64()) * WIDTH as f64) as usize;
    let filled = filled.min(WIDTH);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(WIDTH - filled))
}
