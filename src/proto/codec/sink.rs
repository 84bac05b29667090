//! Where encoders write.

use bytes::Bytes;

/// The most that [`Sink::spare`] may be asked for. The fixed part of any frame or entry (type
/// bytes, lengths, tags and varints) fits; what can be longer goes through `put_slice`.
pub const SPARE_MAX: usize = 512;

/// Takes encoded bytes in order. The stream writer's chain is one, a `Vec<u8>` another.
pub trait Sink {
    /// At least `count` (up to [`SPARE_MAX`]) contiguous writable bytes at the current end.
    ///
    /// Encoders write whole words, so bytes behind those that get committed may be scribbled on.
    fn spare(&mut self, count: usize) -> &mut [u8];

    /// Declares the first `count` bytes of the last `spare` written.
    fn commit(&mut self, count: usize);

    /// Appends a copy of `bytes`, of any length.
    fn put_slice(&mut self, bytes: &[u8]);

    /// Appends a payload, which a sink may keep by reference instead of copying it.
    fn put_bytes(&mut self, bytes: &Bytes) {
        self.put_slice(bytes);
    }
}

/// All encoded bytes in one piece, for what is small or cold.
#[derive(Debug)]
pub struct VecSink {
    /// What was encoded so far.
    pub bytes: Vec<u8>,
    spare: Box<[u8; SPARE_MAX]>,
}

impl Default for VecSink {
    fn default() -> Self {
        Self { bytes: Vec::new(), spare: Box::new([0; SPARE_MAX]) }
    }
}

impl Sink for VecSink {
    fn spare(&mut self, count: usize) -> &mut [u8] {
        assert!(count <= SPARE_MAX, "spare of {count} bytes is over {SPARE_MAX}");
        &mut self.spare[..]
    }

    fn commit(&mut self, count: usize) {
        self.bytes.extend_from_slice(&self.spare[..count]);
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}
