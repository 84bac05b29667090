//! The answer to a probe, on both sides (protocol section 12.1).

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::WallTime;
use crate::proto::http::date::HttpDate;
use crate::proto::http::head::{HeadWriter, name};

/// How much of an answer's body is read: it has some fifty bytes, and this fits the smallest block.
pub const ANSWER_BYTES_MAX: usize = 2 << 10;

/// Why an answer says nothing of the member's health.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BadAnswer {
    /// The body is not one JSON object.
    Json,
    /// `Now` is missing, or is no time of RFC 3339.
    Now,
    /// `OK` is missing, or is not true: the member says that it is not well.
    NotOk,
}

/// Writes the whole answer to a probe at `now`; to a HEAD all but its body.
///
/// `keep_alive` is false if the connection is closed afterwards.
pub fn write_probe_answer(
    out: &mut Vec<u8>,
    now: WallTime,
    version_minor: u8,
    keep_alive: bool,
    is_head: bool,
) {
    let body = body(now);
    let now_unix_s = u64::try_from(now.unix_ns / NANOS_A_SECOND).unwrap_or(0);
    HeadWriter::response(out, version_minor, 200)
        .header(name::DATE, HttpDate(now_unix_s))
        .header(name::CONTENT_LENGTH, body.len())
        .header(name::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header_if(name::CONNECTION, (!keep_alive).then_some("close"))
        .end();
    if !is_head {
        out.extend_from_slice(body.as_bytes());
    }
}

const NANOS_A_SECOND: i128 = 1_000_000_000;

/// A clock that is beyond the year 9999 is shown as one that stands at its start: no answer at all
/// would be worse.
fn body(now: WallTime) -> String {
    let now = Timestamp::from_nanosecond(now.unix_ns).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{{\"OK\":true,\"Now\":\"{now}\"}}\n")
}

/// What the member's clock said, from the body of an answer whose status was 200. Names are matched
/// without regard to case, as Go does; of two that are equal the last one counts.
///
/// # Errors
/// What is wrong with it.
pub fn parse_probe_answer(body: &[u8]) -> Result<WallTime, BadAnswer> {
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| BadAnswer::Json)?;
    let (mut ok, mut now) = (None, None);
    for (name, value) in &object {
        if name.eq_ignore_ascii_case("OK") {
            ok = value.as_bool();
        } else if name.eq_ignore_ascii_case("Now") {
            now = value.as_str();
        }
    }
    if ok != Some(true) {
        return Err(BadAnswer::NotOk);
    }
    let now: Timestamp = now.and_then(|now| now.parse().ok()).ok_or(BadAnswer::Now)?;
    Ok(WallTime { unix_ns: now.as_nanosecond() })
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "the answer is not a JSON object",
            Self::Now => "the answer's Now is not a time",
            Self::NotOk => "the member says that it is not well",
        })
    }
}

impl std::error::Error for BadAnswer {}

#[cfg(test)]
mod tests {
    use super::*;

    const ETCD: &str = "{\"OK\":true,\"Now\":\"2026-11-22T17:02:11.5399886Z\"}\n";
    const AT: WallTime = WallTime { unix_ns: 1_795_366_931_539_988_600 };

    fn written(now: WallTime, version_minor: u8, keep_alive: bool, is_head: bool) -> String {
        let mut out = Vec::new();
        write_probe_answer(&mut out, now, version_minor, keep_alive, is_head);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn an_answer_is_written_as_by_go() {
        let head = "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 17:02:11 GMT\r\nContent-Length: 49\r\n\
                    Content-Type: text/plain; charset=utf-8\r\n\r\n";
        assert_eq!(written(AT, 1, true, false), format!("{head}{ETCD}"));
        assert_eq!(written(AT, 1, true, true), head, "the same without its body");
        let last = written(AT, 0, false, false);
        assert!(last.starts_with("HTTP/1.0 200 OK\r\n") && last.contains("\r\nConnection: close\r\n"));
    }

    #[test]
    fn a_fraction_has_as_many_digits_as_it_needs() {
        let at = |unix_ns| body(WallTime { unix_ns });
        assert_eq!(at(0), "{\"OK\":true,\"Now\":\"1970-01-01T00:00:00Z\"}\n");
        assert_eq!(at(1_500_000_000), "{\"OK\":true,\"Now\":\"1970-01-01T00:00:01.5Z\"}\n");
        assert_eq!(at(1), "{\"OK\":true,\"Now\":\"1970-01-01T00:00:00.000000001Z\"}\n");
        assert_eq!(at(i128::MAX), at(0), "no clock is too wrong");
    }

    #[test]
    fn what_etcd_answers_is_understood_in_any_zone_and_case() {
        assert_eq!(parse_probe_answer(ETCD.as_bytes()), Ok(AT));
        let zoned = br#"{"now":"2026-11-22T18:02:11.5399886+01:00","ok":true,"More":[1,{"a":null}]}"#;
        assert_eq!(parse_probe_answer(zoned), Ok(AT));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let cases: [(&[u8], BadAnswer); 10] = [
            (b"", BadAnswer::Json),
            (b"404 page not found\n", BadAnswer::Json),
            (b"[true]", BadAnswer::Json),
            (b"{\"OK\":true", BadAnswer::Json),
            (b"{\"OK\":true,\"Now\":\"\xff\"}", BadAnswer::Json),
            (b"{}", BadAnswer::NotOk),
            (br#"{"OK":1,"Now":"2026-11-22T17:02:11Z"}"#, BadAnswer::NotOk),
            (br#"{"OK":false,"Now":"2026-11-22T17:02:11Z"}"#, BadAnswer::NotOk),
            (br#"{"OK":true}"#, BadAnswer::Now),
            (br#"{"OK":true,"Now":"noon"}"#, BadAnswer::Now),
        ];
        for (body, want) in cases {
            assert_eq!(parse_probe_answer(body), Err(want), "{}", body.escape_ascii());
        }
        // As deep as it fits: refused, and no stack is used up.
        assert_eq!(parse_probe_answer(&vec![b'['; ANSWER_BYTES_MAX]), Err(BadAnswer::Json));
        let deep = format!("{{\"a\":{}", "[".repeat(ANSWER_BYTES_MAX - 5));
        assert_eq!(parse_probe_answer(deep.as_bytes()), Err(BadAnswer::Json));
    }
}
