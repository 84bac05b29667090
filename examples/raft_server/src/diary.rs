//! What the server tells its operator: lines on the standard error.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, Serializer, o};

/// A line for each record of `Info` and above.
struct Diary;

/// Where raft-rs writes.
pub(crate) fn logger() -> Logger {
    Logger::root(Diary, o!())
}

/// One line of the server's own.
pub(crate) fn note(text: impl AsRef<str>) {
    write_line("INFO", text.as_ref());
}

/// One that somebody should read.
pub(crate) fn warn(text: impl AsRef<str>) {
    write_line("WARN", text.as_ref());
}

fn write_line(level: &str, text: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = format!("{}.{:03} {level} {text}\n", now.as_secs(), now.subsec_millis());
    // There is nobody to tell that nobody listens.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl Drain for Diary {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if record.level().is_at_least(Level::Info) {
            let mut text = Text(format!("raft: {}", record.msg()));
            let _ = record.kv().serialize(record, &mut text);
            let _ = values.serialize(record, &mut text);
            write_line(record.level().as_short_str(), &text.0);
        }
        Ok(())
    }
}

struct Text(String);

impl Serializer for Text {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, ", {key}: {value}").map_err(slog::Error::from)
    }
}
