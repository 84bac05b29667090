//! Paths of the host's own on the transport's listener: `/version`, `/members`, its metrics
//! (protocol section 16).
//!
//! ```text
//!   GET /version ──▶ the listener's core ──▶ Routes::serve(request, reply)
//!                                                  │ at once, or later on any thread
//!   200, body ◀── the listener's core ◀── Reply::answer(Answer)
//! ```
//!
//! All of `/raft...` is the transport's and never comes here.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

/// Serves the host's own paths: `Config::routes`.
pub trait Routes: Send + Sync + 'static {
    /// Somebody asks for a path that is not the transport's. Nothing is known of who it is.
    ///
    /// Called on a core, so it must not block: what takes time is answered later, from any thread,
    /// by whoever was given `reply`. No answer within `Config::route_timeout` is a 503, and a reply that
    /// is dropped a 500. A call that panics costs that connection.
    fn serve(&self, request: Request, reply: Reply);
}

impl fmt::Debug for dyn Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}

/// Any closure serves.
impl<F: Fn(Request, Reply) + Send + Sync + 'static> Routes for F {
    fn serve(&self, request: Request, reply: Reply) {
        self(request, reply);
    }
}

/// A request for a path of the host's. Its head had at most 8 KiB and 32 headers, its body at most
/// `Config::route_body_bytes_max`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path without the query, as it stands on the wire (not percent-decoded).
    pub path: String,
    /// What follows the `?`, likewise; empty without one.
    pub query: String,
    /// All headers as they came, those among them whose value is text.
    pub headers: Vec<(String, String)>,
    /// The body, its framing undone.
    pub body: Bytes,
    /// Where it comes from; `0.0.0.0:0` if by a unix socket.
    pub from: SocketAddr,
}

impl Request {
    /// The first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What the host answers. `Date`, `Content-Length` and `Connection` are the transport's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// What cannot be sent as a part of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BadAnswer {
    /// A status outside of 200 to 599.
    Status(u16),
    /// A header whose name is no token, or is one that the transport sets.
    HeaderName(String),
    /// A header whose value is not visible ASCII and spaces: a line feed would begin a header of its
    /// own.
    HeaderValue(String),
    /// More than [`ANSWER_HEADERS_MAX`] headers.
    TooManyHeaders,
}

/// Headers of one answer: as many as a request may have.
pub const ANSWER_HEADERS_MAX: usize = 32;

/// Those that decide where an answer ends, and when it was made.
const OWN_HEADERS: [&str; 7] =
    ["connection", "content-length", "date", "keep-alive", "trailer", "transfer-encoding", "upgrade"];

impl Answer {
    /// An answer with this status, `Content-Type` and body.
    ///
    /// # Errors
    /// [`BadAnswer::Status`], or [`BadAnswer::HeaderValue`] for the type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Result<Self, BadAnswer> {
        if !(200..=599).contains(&status) {
            return Err(BadAnswer::Status(status));
        }
        Self { status, headers: Vec::new(), body: body.into() }.header("Content-Type", content_type)
    }

    /// Text of status 200.
    #[must_use]
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::fixed(200, "text/plain; charset=utf-8", body.into())
    }

    /// JSON of status 200.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::fixed(200, "application/json", body.into())
    }

    /// 404, in the words of Go.
    #[must_use]
    pub fn not_found() -> Self {
        Self::fixed(404, "text/plain; charset=utf-8", Bytes::from_static(b"404 page not found\n"))
    }

    /// 405: only this method is served.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let mut answer =
            Self::fixed(405, "text/plain; charset=utf-8", Bytes::from_static(b"Method Not Allowed\n"));
        answer.headers.push(("Allow".to_owned(), allow.to_owned()));
        answer
    }

    /// What etcd answers to `GET /version` (protocol section 16.3), for a path that is `/version`.
    /// `server` is a release in full, as `3.4.23`; `cluster` the version that the leader has decided on,
    /// as `3.4.0`, or `not_decided`. A leader decides only when all members answer, and waits
    /// in etcd before 3.6 for ever for one that accepts and never does.
    #[must_use]
    pub fn version(request: &Request, server: &str, cluster: &str) -> Self {
        if request.method != "GET" {
            return Self::method_not_allowed("GET");
        }
        let (server, cluster) = (serde_json::Value::from(server), serde_json::Value::from(cluster));
        Self::json(format!("{{\"etcdserver\":{server},\"etcdcluster\":{cluster}}}"))
    }

    fn fixed(status: u16, content_type: &str, body: Bytes) -> Self {
        Self { status, headers: vec![("Content-Type".to_owned(), content_type.to_owned())], body }
    }

    /// Adds a header.
    ///
    /// # Errors
    /// If it could be read as anything else than one header of the host's.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, BadAnswer> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_own = OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own));
        if name.is_empty() || !name.bytes().all(is_token) || is_own {
            return Err(BadAnswer::HeaderName(name.escape_debug().collect()));
        }
        if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(BadAnswer::HeaderValue(name.to_owned()));
        }
        if self.headers.len() == ANSWER_HEADERS_MAX {
            return Err(BadAnswer::TooManyHeaders);
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The headers, in their order.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status} is no status of an answer: give 200 to 599"),
            Self::HeaderName(name) => write!(f, "\"{name}\" is no header of a host's answer"),
            Self::HeaderValue(name) => {
                write!(f, "the value of {name} must be one line of visible ASCII and spaces")
            }
            Self::TooManyHeaders => write!(f, "an answer has at most {ANSWER_HEADERS_MAX} headers"),
        }
    }
}

impl std::error::Error for BadAnswer {}

/// Who waits for the answer, and is told once.
type Complete = Box<dyn FnOnce(Option<Answer>) + Send>;

/// The way back of one answer, from any thread. Dropped without one it answers 500.
#[must_use = "a reply that is dropped answers 500"]
pub struct Reply(Option<Complete>);

impl Reply {
    /// `complete` is called exactly once, on whatever thread; with `None` if there is no answer.
    pub(crate) fn new(complete: impl FnOnce(Option<Answer>) + Send + 'static) -> Self {
        Self(Some(Box::new(complete)))
    }

    /// Gives the answer. It is lost if the connection or the time for it has ended.
    pub fn answer(mut self, answer: Answer) {
        if let Some(complete) = self.0.take() {
            complete(Some(answer));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(complete) = self.0.take() {
            complete(None);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn request(method: &str) -> Request {
        Request {
            method: method.to_owned(),
            path: "/version".to_owned(),
            query: String::new(),
            headers: vec![("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())],
            body: Bytes::new(),
            from: ([127, 0, 0, 1], 1).into(),
        }
    }

    #[test]
    fn a_reply_answers_exactly_once() {
        let (sender, receiver) = channel();
        let reply = |sender: &std::sync::mpsc::Sender<_>| {
            let sender = sender.clone();
            Reply::new(move |answer| sender.send(answer).expect("somebody listens"))
        };
        reply(&sender).answer(Answer::text("a"));
        drop(reply(&sender));
        drop(sender);
        let told: Vec<_> = receiver.iter().collect();
        assert_eq!(told, [Some(Answer::text("a")), None]);
    }

    #[test]
    fn no_header_can_become_two_or_end_the_answer_early() {
        let with = |name: &str, value: &str| Answer::text("").header(name, value).map(drop);
        assert_eq!(with("X-Etcd-Cluster-Id", "1a2b"), Ok(()));
        for name in
            ["", "X Y", "X:", "X\r\nY", "X\0", "\u{e9}", "Content-Length", "transfer-encoding", "Date"]
        {
            assert!(matches!(with(name, "1"), Err(BadAnswer::HeaderName(_))), "{name:?}");
        }
        for value in ["a\r\nX: b", "a\n", "\0", "\t", "\u{e9}"] {
            assert!(matches!(with("X", value), Err(BadAnswer::HeaderValue(_))), "{value:?}");
        }
        assert!(matches!(Answer::new(200, "a\nb", ""), Err(BadAnswer::HeaderValue(_))));
        let many = (0..=ANSWER_HEADERS_MAX).try_fold(Answer::text(""), |answer, _| answer.header("X", "1"));
        assert_eq!(many, Err(BadAnswer::TooManyHeaders));
    }

    #[test]
    fn only_final_statuses_are_answers() {
        for status in [0, 100, 199, 600, 1000] {
            assert_eq!(Answer::new(status, "a", ""), Err(BadAnswer::Status(status)));
        }
        assert_eq!(Answer::new(507, "a", "").map(|answer| answer.status()), Ok(507));
    }

    #[test]
    fn the_version_is_told_in_etcds_words_to_who_gets_it() {
        let answer = Answer::version(&request("GET"), "3.4.23", "3.4.0");
        assert_eq!(answer.body(), &br#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#[..]);
        assert_eq!(answer.status(), 200);
        assert_eq!(Answer::version(&request("POST"), "3.4.23", "3.4.0").status(), 405);
        assert_eq!(request("GET").header("x-A"), Some("1"));
    }
}
