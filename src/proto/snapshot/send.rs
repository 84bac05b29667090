//! The sending side: what goes onto the wire, and that the source holds exactly what it declared.

use std::fmt;

use bytes::Bytes;

use crate::buf::{Chain, Pool};
use crate::proto::http::{CHUNK_HEADER_BYTES, CHUNK_TRAILER, LAST_CHUNK, write_chunk_header};

/// One upload. The source declares its size once; what is sent is that or nothing whole.
#[derive(Clone, Debug)]
pub struct SnapshotSender {
    size: u64,
    read: u64,
}

/// The source does not hold what it declared. The body must not be ended then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SizeMismatch {
    /// It ended early: rafthttp's "short read".
    Shorter {
        /// Bytes that were there.
        bytes: u64,
        /// Bytes that were declared.
        declared: u64,
    },
    /// It goes on: rafthttp's "expect EOF".
    Longer {
        /// Bytes that were declared.
        declared: u64,
    },
}

impl SnapshotSender {
    /// A database of `size` bytes, sent from `offset` on.
    ///
    /// # Panics
    /// If it begins behind the end.
    #[must_use]
    pub const fn new(size: u64, offset: u64) -> Self {
        assert!(offset <= size, "an offset behind the end");
        Self { size, read: offset }
    }

    /// What comes first: the request's head, and the envelope in a chunk.
    #[must_use]
    pub fn begin(&self, head: Vec<u8>, envelope: Bytes, pool: &Pool) -> Chain {
        let mut chain = Chain::default();
        chain.push_payload(head.into());
        put_chunk(&mut chain, envelope, pool);
        chain
    }

    /// The next bytes of the source, in a chunk.
    ///
    /// # Errors
    /// If these are more than were declared.
    ///
    /// # Panics
    /// If there are none, or more than a chunk may have.
    pub fn put(&mut self, piece: Bytes, pool: &Pool) -> Result<Chain, SizeMismatch> {
        self.read += piece.len() as u64;
        if self.read > self.size {
            return Err(SizeMismatch::Longer { declared: self.size });
        }
        let mut chain = Chain::default();
        put_chunk(&mut chain, piece, pool);
        Ok(chain)
    }

    /// The source has ended.
    ///
    /// # Errors
    /// If more was declared.
    pub fn finish(&self) -> Result<Chain, SizeMismatch> {
        if self.read < self.size {
            return Err(SizeMismatch::Shorter { bytes: self.read, declared: self.size });
        }
        let mut chain = Chain::default();
        chain.push_payload(Bytes::from_static(LAST_CHUNK));
        Ok(chain)
    }
}

fn put_chunk(chain: &mut Chain, payload: Bytes, pool: &Pool) {
    let len = u32::try_from(payload.len()).expect("pieces and envelopes are bounded far below 4 GiB");
    assert!(len > 0, "an empty chunk would end the body");
    let mut header = [0; CHUNK_HEADER_BYTES];
    write_chunk_header(&mut header, len);
    let put = |chain: &mut Chain, bytes: &[u8]| {
        chain.spare(pool, false, bytes.len())[..bytes.len()].copy_from_slice(bytes);
        chain.commit(bytes.len());
    };
    put(chain, &header);
    chain.push_payload(payload);
    put(chain, CHUNK_TRAILER);
}

impl fmt::Display for SizeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shorter { bytes, declared } => {
                write!(f, "the source ended after {bytes} of {declared} bytes")
            }
            Self::Longer { declared } => {
                write!(f, "the source holds more than the {declared} bytes declared")
            }
        }
    }
}

impl std::error::Error for SizeMismatch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_and_each_piece_are_chunks() {
        let pool = Pool::new();
        let mut sender = SnapshotSender::new(8, 0);
        let begin = sender.begin(b"HEAD".to_vec(), Bytes::from_static(b"envelope"), &pool);
        assert_eq!(begin.to_vec(), b"HEAD00000008\r\nenvelope\r\n");
        assert_eq!(
            sender.put(Bytes::from_static(b"DB"), &pool).expect("fits").to_vec(),
            b"00000002\r\nDB\r\n"
        );
        assert!(sender.put(Bytes::from_static(b"DATA12"), &pool).is_ok());
        assert_eq!(sender.finish().expect("whole").to_vec(), b"0\r\n\r\n");
    }

    /// `TestSnapshotSend`: a source that is shorter or longer breaks the upload, which is not ended.
    #[test]
    fn a_source_that_is_not_what_it_declared_is_never_sent_whole() {
        let pool = Pool::new();
        let mut sender = SnapshotSender::new(5, 0);
        assert_eq!(sender.finish().err(), Some(SizeMismatch::Shorter { bytes: 0, declared: 5 }));
        assert!(sender.put(Bytes::from_static(b"1234"), &pool).is_ok());
        assert_eq!(sender.finish().err(), Some(SizeMismatch::Shorter { bytes: 4, declared: 5 }));
        let longer = sender.put(Bytes::from_static(b"56"), &pool);
        assert_eq!(longer.err(), Some(SizeMismatch::Longer { declared: 5 }));
        assert!(SnapshotSender::new(0, 0).finish().is_ok(), "an empty database");
    }

    #[test]
    fn an_upload_that_is_resumed_counts_from_its_offset() {
        let pool = Pool::new();
        let mut sender = SnapshotSender::new(5, 4);
        assert!(sender.finish().is_err());
        assert!(sender.put(Bytes::from_static(b"5"), &pool).is_ok());
        assert!(sender.finish().is_ok());
        assert!(SnapshotSender::new(5, 5).finish().is_ok());
    }
}
