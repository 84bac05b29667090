//! The encoder's side of chunked framing, and the limits of the decoder's.

/// Bytes of a chunk's header: eight hexadecimal digits and CRLF.
///
/// Of a fixed size, so that it can be reserved before the length is known and patched at flush.
/// Eight digits cover what one flush may hold, and the 12 bytes around the smallest chunk (one byte
/// of heartbeat) stay within the `16 + 2 * len` that Go's readers allow. Sixteen digits would exceed
/// it by two bytes a heartbeat, and in time close every idle stream.
pub const CHUNK_HEADER_BYTES: usize = 10;

/// What follows the bytes of a chunk.
pub const CHUNK_TRAILER: &[u8; 2] = b"\r\n";

/// What ends a body on purpose.
pub const LAST_CHUNK: &[u8; 5] = b"0\r\n\r\n";

/// The largest chunk that is accepted, in bytes: far above any write, far below an overflow.
pub const CHUNK_LEN_MAX: u64 = 1 << 40;

/// Digits of a chunk's length that are accepted: as many as 64 bits can need.
pub(super) const CHUNK_DIGITS_MAX: u8 = 16;

/// Bytes of framing that a body may carry beyond [`chunk_allowance`], counted as Go does.
pub(super) const CHUNK_EXCESS_MAX: u64 = 16 << 10;

/// Framing bytes that a chunk of `len` bytes may have without any of them being excess.
pub(super) const fn chunk_allowance(len: u64) -> u64 {
    16 + 2 * len
}

// Our own chunks never count as excess, not even the shortest.
const _: () = assert!((CHUNK_HEADER_BYTES + CHUNK_TRAILER.len()) as u64 <= chunk_allowance(1));

/// Fills in the reserved header of a chunk of `len` bytes, which must not be 0: an empty chunk is
/// the end of the body.
///
/// ```text
///   |<---------- 10 ---------->|<- len ->|< 2 >|
///   | 0 0 0 1 0 f 3 a  CR  LF  | payload | CRLF|
/// ```
pub fn write_chunk_header(header: &mut [u8; CHUNK_HEADER_BYTES], len: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    debug_assert!(len > 0, "an empty chunk ends the body");
    for (i, digit) in header[..8].iter_mut().enumerate() {
        *digit = DIGITS[(len >> (28 - 4 * i)) as usize & 0xf];
    }
    header[8..].copy_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_eight_lower_case_digits() {
        for (len, want) in [(1, b"00000001\r\n"), (0x0001_0f3a, b"00010f3a\r\n"), (u32::MAX, b"ffffffff\r\n")]
        {
            let mut header = [0; CHUNK_HEADER_BYTES];
            write_chunk_header(&mut header, len);
            assert_eq!(&header, want);
        }
    }
}
