//! Heads as Go's `net/http` writes them.

use std::fmt::Display;
use std::io::Write;

use super::name;

/// Writes one head, line by line, in the order of the calls.
///
/// Values are not checked: give what was validated before (ids, versions, peer URLs) or is fixed.
#[derive(Debug)]
#[must_use = "a head without its empty line is no head"]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

/// What a Go peer says it is. Kept, so that whatever filters or counts peers sees no difference.
const USER_AGENT: &str = "Go-http-client/1.1";

impl<'a> HeadWriter<'a> {
    /// Begins a request of HTTP/1.1 with the lines that Go puts first.
    pub fn request(out: &'a mut Vec<u8>, method: &str, path: impl Display, host: &str) -> Self {
        let mut writer = Self { out };
        writer.put(format_args!("{method} {path} HTTP/1.1\r\n"));
        writer.header(name::HOST, host).header(name::USER_AGENT, USER_AGENT)
    }

    /// Begins a response of HTTP/1.`version_minor`.
    pub fn response(out: &'a mut Vec<u8>, version_minor: u8, status: u16) -> Self {
        let mut writer = Self { out };
        writer.put(format_args!("HTTP/1.{version_minor} {status} {}\r\n", reason(status)));
        writer
    }

    /// One header.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.put(format_args!("{name}: {value}\r\n"));
        self
    }

    /// One header if there is a value.
    pub fn header_if(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// The empty line.
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        self.out.write_fmt(line).expect("a Vec takes every byte");
    }
}

/// The reason phrase of a status that we send; a host may answer others, which have none.
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "",
    }
}
