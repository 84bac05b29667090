//! The server's side: the body of one `POST /raft` (protocol section 10.2).

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::buf::{Block, Pool};
use crate::proto::handshake::Refusal;
use crate::proto::http::body::{BodyDecoder, BodyState};
use crate::proto::http::head::Framing;
use crate::proto::stream::Inbox;

/// Between two reads of a body: etcd's read deadline.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A body may take this long, and as much longer as 1 KiB/s allows for what has arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Collects the body of one message. Memory follows what arrives.
#[derive(Debug)]
pub struct MessageBody {
    body: BodyDecoder,
    inbox: Inbox,
    bytes_max: usize,
    began: Instant,
    read_at: Instant,
    ended: bool,
}

/// Where a body stands.
#[derive(Debug)]
pub enum BodyOutcome {
    /// It is whole; `rest` are bytes behind it, of the next request.
    Whole {
        /// The payload.
        message: Bytes,
        /// What followed.
        rest: Vec<u8>,
    },
    /// More has to be read.
    NeedsMore,
}

impl MessageBody {
    /// The body behind a request head; `rest` is what came with the head.
    ///
    /// # Errors
    /// If the declared length is over `bytes_max`.
    pub fn new(
        framing: Framing,
        rest: &[u8],
        bytes_max: usize,
        pool: Pool,
        now: Instant,
    ) -> Result<Self, Refusal> {
        if matches!(framing, Framing::Length(length) if length > bytes_max as u64) {
            return Err(Refusal::MessageTooLarge);
        }
        let (body, inbox) = (BodyDecoder::new(framing), Inbox::new(pool, rest));
        Ok(Self { body, inbox, bytes_max, began: now, read_at: now, ended: false })
    }

    /// Looks at what is there.
    ///
    /// # Errors
    /// [`Refusal::ReadMessage`] if the framing is broken or the end came too early,
    /// [`Refusal::MessageTooLarge`].
    pub fn poll(&mut self, now: Instant) -> Result<BodyOutcome, Refusal> {
        self.read_at = now;
        let (block, marks) = self.inbox.parts();
        let state = self.body.advance(block, marks).map_err(|_| Refusal::ReadMessage)?;
        if self.inbox.body().len() > self.bytes_max {
            return Err(Refusal::MessageTooLarge);
        }
        if state == BodyState::Ended {
            let message = self.inbox.stabilise().body;
            return Ok(BodyOutcome::Whole { message, rest: self.inbox.raw().to_vec() });
        }
        if self.ended {
            return Err(Refusal::ReadMessage);
        }
        self.inbox.make_room(self.inbox.body().len() + 1).map_err(|_| Refusal::Busy)?;
        Ok(BodyOutcome::NeedsMore)
    }

    /// Lends the buffer to the kernel, with the range to read into.
    pub fn lend(&mut self) -> (Block, Range<usize>) {
        self.inbox.lend()
    }

    /// A read came back; 0 is the end of the connection.
    pub fn handle_read(&mut self, block: Block, count: usize) {
        self.ended |= count == 0;
        self.inbox.restore(block, count);
    }

    /// When the connection is given up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let earned = Duration::from_secs((self.inbox.held() >> 10) as u64);
        (self.read_at + READ_TIMEOUT).min(self.began + BODY_TIMEOUT + earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn body(now: Instant, rest: &[u8]) -> MessageBody {
        MessageBody::new(Framing::Length(1 << 20), rest, 1 << 20, Pool::new(), now).expect("within bounds")
    }

    /// Bytes come.
    fn read(body: &mut MessageBody, count: usize) {
        let (block, range) = body.lend();
        let count = count.min(range.len());
        body.handle_read(block, count);
    }

    fn needs_more(body: &mut MessageBody, now: Instant) -> bool {
        matches!(body.poll(now), Ok(BodyOutcome::NeedsMore))
    }

    #[test]
    fn a_body_of_which_nothing_comes_is_given_up_as_by_etcd() {
        let now = Instant::now();
        let mut body = body(now, b"");
        assert!(needs_more(&mut body, now));
        assert_eq!(body.deadline(), now + READ_TIMEOUT);
    }

    #[test]
    fn a_body_that_drips_is_given_up_after_half_a_minute() {
        let began = Instant::now();
        let mut body = body(began, b"");
        let (mut now, mut bytes) = (began, 0);
        while body.deadline() > now {
            read(&mut body, 1);
            bytes += 1;
            assert!(needs_more(&mut body, now));
            now += 4 * SECOND;
        }
        assert!(bytes < 10 && now - began < BODY_TIMEOUT + 5 * SECOND, "{bytes} bytes in {:?}", now - began);
    }

    #[test]
    fn a_large_body_passes_a_thin_link() {
        let began = Instant::now();
        let mut body = body(began, b"");
        // 2 KiB/s, for as long as it takes.
        for second in 0..512 {
            let now = began + second * SECOND;
            assert!(body.deadline() > now || second == 0, "given up after {second} s");
            read(&mut body, 2 << 10);
            match body.poll(now) {
                Ok(BodyOutcome::NeedsMore) => {}
                Ok(BodyOutcome::Whole { message, .. }) => return assert_eq!(message.len(), 1 << 20),
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_a_byte_is_read() {
        let refused = MessageBody::new(Framing::Length(1 << 40), b"", 1 << 20, Pool::new(), Instant::now());
        assert!(matches!(refused, Err(Refusal::MessageTooLarge)));
    }
}
