//! The one line for machines at the end of each run: how it is written and read.
//!
//! ```text
//! RESULT impl=raftring mode=push host=core followers=1 entry_size=64 … max_us=812.0 dropped=0
//! ```

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

const MARK: &str = "RESULT";

/// The figures of one run, as every implementation prints them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ResultLine {
    /// Who moved the messages.
    #[serde(rename = "impl")]
    pub implementation: String,
    /// `push` or `rtt`.
    pub mode: String,
    /// Where the host lived; for the floor, how it waited.
    pub host: String,
    /// Followers of the one leader.
    pub followers: u64,
    /// Bytes of data in one entry.
    pub entry_size: u64,
    /// Entries in one message.
    pub entries_per_message: u64,
    /// Messages that reached the followers' `process`.
    pub msgs_per_s: f64,
    /// Their entries.
    pub entries_per_s: f64,
    /// The data of their entries.
    pub bytes_per_s: f64,
    /// User and system time of the whole process for each of them.
    pub cpu_ns_per_msg: f64,
    /// Send to process, or a full circle; `None` where no latency was measured.
    pub p50_us: Option<f64>,
    /// See `p50_us`.
    pub p90_us: Option<f64>,
    /// See `p50_us`.
    pub p99_us: Option<f64>,
    /// See `p50_us`.
    pub p999_us: Option<f64>,
    /// See `p50_us`.
    pub max_us: Option<f64>,
    /// Messages that never arrived.
    pub dropped: u64,
}

impl fmt::Display for ResultLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK} impl={} mode={} host={}", self.implementation, self.mode, self.host)?;
        write!(f, " followers={} entry_size={}", self.followers, self.entry_size)?;
        write!(f, " entries_per_message={}", self.entries_per_message)?;
        write!(f, " msgs_per_s={:.0} entries_per_s={:.0}", self.msgs_per_s, self.entries_per_s)?;
        write!(f, " bytes_per_s={:.0} cpu_ns_per_msg={:.1}", self.bytes_per_s, self.cpu_ns_per_msg)?;
        let latencies = [
            ("p50_us", self.p50_us),
            ("p90_us", self.p90_us),
            ("p99_us", self.p99_us),
            ("p999_us", self.p999_us),
            ("max_us", self.max_us),
        ];
        for (name, latency) in latencies {
            match latency {
                Some(latency) => write!(f, " {name}={latency:.1}")?,
                None => write!(f, " {name}=-")?,
            }
        }
        write!(f, " dropped={}", self.dropped)
    }
}

impl FromStr for ResultLine {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some(MARK) {
            bail!("not a {MARK} line: {line:?}");
        }
        let pair = |word| str::split_once(word, '=').ok_or_else(|| anyhow!("{word:?} is not name=value"));
        let fields = Fields(words.map(pair).collect::<Result<_>>()?);
        Ok(Self {
            implementation: fields.get("impl")?,
            mode: fields.get("mode")?,
            host: fields.get("host")?,
            followers: fields.get("followers")?,
            entry_size: fields.get("entry_size")?,
            entries_per_message: fields.get("entries_per_message")?,
            msgs_per_s: fields.get("msgs_per_s")?,
            entries_per_s: fields.get("entries_per_s")?,
            bytes_per_s: fields.get("bytes_per_s")?,
            cpu_ns_per_msg: fields.get("cpu_ns_per_msg")?,
            p50_us: fields.latency("p50_us")?,
            p90_us: fields.latency("p90_us")?,
            p99_us: fields.latency("p99_us")?,
            p999_us: fields.latency("p999_us")?,
            max_us: fields.latency("max_us")?,
            dropped: fields.get("dropped")?,
        })
    }
}

/// The pairs of a line. Names that are not known are ignored: a rival may tell more.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl Fields<'_> {
    fn text(&self, name: &str) -> Result<&str> {
        self.0.get(name).copied().ok_or_else(|| anyhow!("the {MARK} line lacks {name}="))
    }

    fn get<T: FromStr<Err: Into<anyhow::Error>>>(&self, name: &str) -> Result<T> {
        let text = self.text(name)?;
        let value = text.parse::<T>().map_err(Into::into);
        value.with_context(|| format!("{name}={text} of the {MARK} line is no such value"))
    }

    fn latency(&self, name: &str) -> Result<Option<f64>> {
        if self.text(name)? == "-" { Ok(None) } else { self.get(name).map(Some) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const LINE: &str = "RESULT impl=go-rafthttp mode=push host=core followers=1 entry_size=64 \
        entries_per_message=1 msgs_per_s=500000 entries_per_s=500000 bytes_per_s=32000000 \
        cpu_ns_per_msg=3800.5 p50_us=1800.0 p90_us=2000.1 p99_us=2500.0 p999_us=- max_us=4000.0 dropped=0";

    #[test]
    fn what_is_written_is_read_back() {
        let line: ResultLine = LINE.parse().expect("a good line");
        assert_eq!(line.to_string(), LINE);
        assert_eq!((line.cpu_ns_per_msg, line.p999_us), (3800.5, None));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        let wrong = |line: &str| line.parse::<ResultLine>().expect_err("a bad line").to_string();
        assert!(wrong("hello").contains("RESULT"));
        assert!(wrong("RESULT impl=x mode=push").contains("host="));
        assert!(wrong("RESULT impl").contains("name=value"));
        assert!(wrong(&LINE.replace("followers=1", "followers=one")).contains("followers=one"));
    }
}
