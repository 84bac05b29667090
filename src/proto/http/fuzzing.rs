//! What the fuzz targets run. Each function takes any bytes and panics if a promise is broken.

use crate::id::{ClusterId, MemberId};
use crate::proto::handshake::{Accepted, Identity, Membership, Refused, accept, judge, write_refused};
use crate::proto::version::Versions;

use super::body::{BodyDecoder, BodyState, Marks};
use super::head::{Framing, HeadError, HeadSearch, RequestHead, ResponseHead, WholeHead};

/// `data`: a byte (the lowest bit: a response; the rest: how many bytes come at once), the wire.
///
/// Promises: a head split anywhere is the head in one piece; whatever is refused is answered with
/// a head that we would accept ourselves.
pub fn head(data: &[u8]) {
    let Some((&control, wire)) = data.split_first() else {
        return;
    };
    let step = usize::from(control >> 1).max(1);
    let search = if control & 1 == 1 { HeadSearch::response() } else { HeadSearch::request() };
    let whole = search.clone().find(wire);
    let split = find_split(search, wire, step);
    assert_eq!(whole.map(|head| head.map(WholeHead::len)), split, "split every {step} bytes");
    match (whole, control & 1 == 1) {
        (Ok(Some(found)), true) => head_response(found, &wire[found.len()..]),
        (Ok(Some(found)), false) => head_request(found),
        (Ok(None), _) => {}
        (Err(error), _) => head_refused(&Refused::bad_head(error)),
    }
}

fn find_split(mut search: HeadSearch, wire: &[u8], step: usize) -> Result<Option<usize>, HeadError> {
    for end in (step..wire.len()).step_by(step).chain([wire.len()]) {
        if let Some(head) = search.find(&wire[..end])? {
            return Ok(Some(head.len()));
        }
    }
    Ok(None)
}

fn head_request(found: WholeHead<'_>) {
    let head = match RequestHead::parse(found) {
        Ok(head) => head,
        Err(error) => return head_refused(&Refused::bad_head(error)),
    };
    assert!(head.path.starts_with('/'));
    assert!(head.version_minor == 1 || matches!(head.framing, Framing::None | Framing::Length(0)));
    assert_ne!(head.framing, Framing::UntilClose);
    match accept(&head, &identity(), &Members) {
        Ok(Accepted::Stream { peer, .. }) => assert_eq!(head.headers.raft_to, Some("1"), "{peer}"),
        Ok(_) => {}
        Err(refused) => head_refused(&refused),
    }
}

fn head_refused(refused: &Refused) {
    let mut out = Vec::new();
    write_refused(&mut out, refused, &identity(), 784_111_777);
    assert_eq!(out.is_empty(), refused.refusal.is_silent());
    if out.is_empty() {
        return;
    }
    let found = HeadSearch::response().find(&out).expect("acceptable").expect("whole");
    let head = ResponseHead::parse(found).expect("our own answer");
    let body = out.len() - found.len();
    assert_eq!((head.status, head.keep_alive), (refused.refusal.status(), false));
    assert_eq!(head.framing, Framing::Length(body as u64));
}

fn head_response(found: WholeHead<'_>, body: &[u8]) {
    let Ok(head) = ResponseHead::parse(found) else {
        return;
    };
    match judge(&head, body, &identity()) {
        Ok(_) => assert_eq!(head.status, 200),
        Err(refusal) => {
            let text = refusal.to_string();
            assert!(text.bytes().all(|b| matches!(b, b' '..=b'~')), "fit for a log: {text:?}");
            assert!(!refusal.reports_removed() || head.status == 410);
        }
    }
}

fn identity() -> Identity {
    let versions = Versions::default();
    Identity { member: MemberId(1), cluster: ClusterId(0x1a2b), versions, peer_urls: None, echoes: true }
}

struct Members;

impl Membership for Members {
    fn is_id_removed(&self, id: MemberId) -> bool {
        id.0 % 4 == 3
    }

    fn is_known_peer(&self, id: MemberId) -> bool {
        id.0.is_multiple_of(2)
    }
}

/// `data`: how many bytes come at once, how many the codec consumes after each, the wire.
///
/// Promises: the payload and the end are those that [`chunked_reference`] finds; the marks stay in
/// order; nothing moves twice.
pub fn chunked(data: &[u8]) {
    let [read, consume, wire @ ..] = data else {
        return;
    };
    let (payload, end) = chunked_in_place(wire, usize::from(*read).max(1), usize::from(*consume));
    assert_eq!((payload, end), chunked_reference(wire));
}

/// How a chunked body goes on after some bytes; the number is what is left behind the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChunkedEnd {
    /// More may come.
    Open,
    /// The last chunk came.
    Ended(usize),
    /// Wrong framing.
    Wrong,
}

/// Decodes with the decoder, `read` bytes at a time, while a codec consumes `consume` bytes after
/// each read.
#[must_use]
pub fn chunked_in_place(wire: &[u8], read: usize, consume: usize) -> (Vec<u8>, ChunkedEnd) {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (mut buf, mut marks, mut payload) = (vec![0; wire.len()], Marks::default(), Vec::new());
    let mut came = 0;
    let end = loop {
        let count = read.min(wire.len() - came);
        buf[marks.filled..marks.filled + count].copy_from_slice(&wire[came..came + count]);
        marks.filled += count;
        came += count;
        let result = decoder.advance(&mut buf, &mut marks);
        assert!(marks.are_sound(buf.len()), "{marks:?}");
        match result {
            Err(_) => break ChunkedEnd::Wrong,
            Ok(BodyState::Ended) => break ChunkedEnd::Ended(marks.filled - marks.raw + wire.len() - came),
            Ok(BodyState::Open) => assert_eq!((marks.raw, marks.filled), (marks.end, marks.end)),
        }
        if came == wire.len() {
            break ChunkedEnd::Open;
        }
        let consumed = consume.min(marks.end - marks.start);
        payload.extend_from_slice(&buf[marks.start..marks.start + consumed]);
        marks.start += consumed;
    };
    payload.extend_from_slice(&buf[marks.start..marks.end]);
    assert!(decoder.moved_bytes() <= payload.len() as u64, "a byte moves at most once");
    (payload, end)
}

/// The same, written for being obvious: over the whole wire, copying, with Go's own arithmetic.
#[must_use]
pub fn chunked_reference(wire: &[u8]) -> (Vec<u8>, ChunkedEnd) {
    let (mut rest, mut payload, mut excess) = (wire, Vec::new(), 0_i64);
    loop {
        let digits = rest.iter().take_while(|&&byte| byte != b'\r').count();
        // Seventeen digits fit and are too many already.
        let value = rest[..digits.min(17)]
            .iter()
            .try_fold(0_u128, |value, &byte| Some(value * 16 + u128::from(char::from(byte).to_digit(16)?)));
        let Some(value) = value.filter(|&value| digits <= 16 && value <= 1 << 40) else {
            return (payload, ChunkedEnd::Wrong);
        };
        if digits == 0 && !rest.is_empty() {
            return (payload, ChunkedEnd::Wrong);
        }
        rest = match skip_crlf(&rest[digits..]) {
            Ok(rest) => rest,
            Err(end) => return (payload, end),
        };
        // Go counts the line with its CRLF, and the CRLF after the data.
        excess = (excess + digits as i64 + 4 - (16 + 2 * value as i64)).max(0);
        if excess > 16 * 1024 {
            return (payload, ChunkedEnd::Wrong);
        }
        let data = rest.len().min(value as usize);
        payload.extend_from_slice(&rest[..data]);
        if data < value as usize {
            return (payload, ChunkedEnd::Open);
        }
        rest = match skip_crlf(&rest[data..]) {
            Ok(rest) if value == 0 => return (payload, ChunkedEnd::Ended(rest.len())),
            Ok(rest) => rest,
            Err(end) => return (payload, end),
        };
    }
}

fn skip_crlf(rest: &[u8]) -> Result<&[u8], ChunkedEnd> {
    match rest {
        [b'\r', b'\n', rest @ ..] => Ok(rest),
        [] | [b'\r'] => Err(ChunkedEnd::Open),
        _ => Err(ChunkedEnd::Wrong),
    }
}
