//! The answer to a request of ours: its head, and as much of its body as may be of use.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::conn::Conn;
use super::endpoint::ServedGuard;
use super::input::{Input, NoHead};
use crate::buf::Pool;
use crate::event::DialError;
use crate::proto::http::body::{BodyDecoder, BodyState, Marks};
use crate::proto::http::head::{Framing, HeadError, HeadSearch, ResponseHead};

/// A body is a sentence: it is there at once or not worth waiting for.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// An answer whose head is there.
pub(super) struct Answer {
    head: Vec<u8>,
    input: Input,
    pool: Pool,
}

/// What came of a body.
pub(super) struct Body {
    /// The payload, framing undone, as far as it was read.
    pub(super) text: Vec<u8>,
    /// True if that is all of it and nothing stands behind it: the connection can take another
    /// request.
    pub(super) is_whole: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The connection ended before the answer's first byte.
    Closed,
    /// It broke in the middle of it.
    Broken(io::Error),
    /// It was shut down by us: a deadline, or the caller was stopped.
    Timeout,
    /// The bytes are no answer.
    Malformed(HeadError),
}

impl Answer {
    /// Reads a head; whoever watches over `conn` says for how long.
    pub(super) async fn read(conn: &mut Conn, pool: &Pool) -> Result<Self, NoAnswer> {
        let mut input = Input::new(pool);
        let len = match input.read_head(conn, HeadSearch::response(), || ()).await {
            Ok(len) => len,
            Err(NoHead::Bad(error)) => return Err(NoAnswer::Malformed(error)),
            Err(_) if conn.shut().is_done() => return Err(NoAnswer::Timeout),
            Err(NoHead::Closed) => return Err(NoAnswer::Closed),
            Err(NoHead::Broken(error)) => return Err(NoAnswer::Broken(error)),
        };
        let head = input.bytes()[..len].to_vec();
        input.consume(len);
        Ok(Self { head, input, pool: pool.clone() })
    }

    /// The head, as text.
    ///
    /// # Errors
    /// [`NoAnswer::Malformed`].
    pub(super) fn head(&self) -> Result<ResponseHead<'_>, NoAnswer> {
        let head = HeadSearch::response().find(&self.head).map_err(NoAnswer::Malformed)?;
        ResponseHead::parse(head.ok_or(NoAnswer::Malformed(HeadError::Malformed))?)
            .map_err(NoAnswer::Malformed)
    }

    /// Bytes behind the head.
    pub(super) fn rest(&self) -> &[u8] {
        self.input.bytes()
    }

    /// Reads the body, as far as it comes within a second (and `deadline`) and fits; what is missing
    /// was never said. `guard` watches over the connection, which the body may cost.
    pub(super) async fn body(
        &self,
        conn: &mut Conn,
        framing: Framing,
        bytes_max: usize,
        guard: &ServedGuard,
        deadline: Instant,
    ) -> Body {
        let rest = self.rest();
        if framing == Framing::None {
            return Body { text: Vec::new(), is_whole: rest.is_empty() };
        }
        guard.set_deadline(deadline.min(Instant::now() + BODY_TIMEOUT));
        let mut block = self.pool.take(rest.len() + bytes_max);
        block[..rest.len()].copy_from_slice(rest);
        let mut body = BodyDecoder::new(framing);
        let mut marks = Marks::after_head(0, rest.len());
        let mut is_whole = false;
        loop {
            match body.advance(&mut block, &mut marks) {
                Ok(BodyState::Open) => {}
                Ok(BodyState::Ended) => {
                    is_whole = marks.raw == marks.filled;
                    break;
                }
                Err(_) => break,
            }
            let to = block.len().min(marks.start + bytes_max);
            if marks.filled >= to {
                break;
            }
            let (result, back) = conn.read(block, marks.filled..to).await;
            block = back;
            match result {
                Ok(count) if count > 0 => marks.filled += count,
                _ => break,
            }
        }
        Body { text: block[marks.start..marks.end].to_vec(), is_whole }
    }
}

impl NoAnswer {
    /// The request could not be written.
    pub(super) fn of_write(conn: &Conn, error: io::Error) -> Self {
        if conn.shut().is_done() { Self::Timeout } else { Self::Broken(error) }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed before an answer"),
            Self::Broken(error) => error.fmt(f),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Malformed(error) => write!(f, "malformed answer: {error}"),
        }
    }
}

impl From<NoAnswer> for DialError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Closed => Self::Connect(io::Error::from(io::ErrorKind::UnexpectedEof).to_string()),
            NoAnswer::Broken(error) => Self::Connect(error.to_string()),
            NoAnswer::Timeout => Self::Timeout,
            NoAnswer::Malformed(error) => Self::Malformed(error.to_string()),
        }
    }
}
