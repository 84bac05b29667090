//! One message as a request.

use crate::buf::{Chain, Pool};
use crate::proto::codec::{Dialect, Sink, encode_bare_message, message_size};
use crate::proto::handshake::{Identity, write_pipeline_request};
use crate::proto::peer_url::PeerUrl;
use crate::proto::stream::{BodyFraming, Outbox};
use crate::raftpb::Message;

/// The whole request that posts `message` to whoever listens at `url`, and the protobuf size of its
/// body, which is what statistics count. Large payloads are in it by reference.
#[must_use]
pub fn write_post(
    own: &Identity,
    url: &PeerUrl,
    message: &Message,
    dialect: Dialect,
    pool: &Pool,
) -> (Chain, usize) {
    let size = message_size(message, dialect);
    let mut head = Vec::with_capacity(512);
    write_pipeline_request(&mut head, own, url, size as u64);
    // The length is declared, so there is nothing around the body.
    let mut outbox = Outbox::new(pool.clone(), BodyFraming::UntilClose);
    outbox.put_slice(&head);
    encode_bare_message(message, dialect, &mut outbox);
    (outbox.flush(), size)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::codec::VecSink;
    use crate::proto::handshake::tests::own;
    use crate::raftpb::Entry;

    /// `TestPipelinePost`: method, path, headers, and the body unchanged.
    #[test]
    fn the_body_is_the_message_and_its_length_is_declared() {
        let (pool, url) = (Pool::new(), PeerUrl::parse("http://10.0.0.2:2380").expect("valid"));
        for dialect in [Dialect::Full, Dialect::default()] {
            for bytes in [0, 1, 100, 10_000, 3 << 20] {
                let data = Some(Bytes::from(vec![b'x'; bytes]));
                let entries = vec![Entry { data, ..Entry::default() }];
                let message = Message { to: Some(2), from: Some(1), entries, ..Message::default() };
                let (chain, size) = write_post(&own(), &url, &message, dialect, &pool);
                let mut body = VecSink::default();
                encode_bare_message(&message, dialect, &mut body);
                let mut whole = Vec::new();
                write_pipeline_request(&mut whole, &own(), &url, size as u64);
                assert!(whole.starts_with(b"POST /raft HTTP/1.1\r\nHost: 10.0.0.2:2380\r\n"));
                whole.extend_from_slice(&body.bytes);
                assert_eq!((chain.to_vec(), size), (whole, body.bytes.len()));
            }
        }
    }

    #[test]
    fn a_large_payload_is_not_copied() {
        let (pool, url) = (Pool::new(), PeerUrl::parse("http://10.0.0.2:2380").expect("valid"));
        let data = Bytes::from(vec![7; 1 << 20]);
        let entries = vec![Entry { data: Some(data.clone()), ..Entry::default() }];
        let message = Message { entries, ..Message::default() };
        let (chain, _) = write_post(&own(), &url, &message, Dialect::default(), &pool);
        assert!(chain.slices().any(|slice| slice.as_ptr() == data.as_ptr() && slice.len() == data.len()));
    }
}
