//! Varints and the two marks over bytes that are written or read: [`Pen`] and [`Cursor`].
//!
//! Both do eight bytes of a varint in one word: seven payload bits a byte, spread or squeezed in
//! three steps, and the length from the highest (or lowest) byte that ends it.
//!
//! ```text
//!   value                     dddddddcccccccbbbbbbbaaaaaaa   seven bits a group
//!   word    0ddddddd 1ccccccc 1bbbbbbb 1aaaaaaa              little endian: `a` is first on the wire
//! ```

/// The longest varint: 64 bits, seven a byte.
pub(super) const VARINT_BYTES_MAX: usize = 10;

/// What one word of a varint can carry.
const WORD_BITS: u32 = 56;

/// Every byte's continuation bit.
const CONTINUE: u64 = 0x8080_8080_8080_8080;

/// Bytes of `value` as a varint, 1 to 10.
#[inline]
pub(super) const fn varint_size(value: u64) -> usize {
    // bits / 7 rounded up, without a division: 9/64 is close enough to 1/7 for 64 bits.
    ((64 - (value | 1).leading_zeros()) as usize * 9 + 64) / 64
}

/// The lowest 56 bits of `value`, seven to a byte.
#[inline]
const fn spread(value: u64) -> u64 {
    let x = (value & 0x0fff_ffff) | ((value & 0x00ff_ffff_f000_0000) << 4);
    let x = (x & 0x0000_3fff_0000_3fff) | ((x & 0x0fff_c000_0fff_c000) << 2);
    (x & 0x007f_007f_007f_007f) | ((x & 0x3f80_3f80_3f80_3f80) << 1)
}

/// The inverse of [`spread`]; ignores continuation bits.
#[inline]
const fn squeeze(word: u64) -> u64 {
    let x = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let x = (x & 0x0000_3fff_0000_3fff) | ((x & 0x3fff_0000_3fff_0000) >> 2);
    (x & 0x0fff_ffff) | ((x & 0x0fff_ffff_0000_0000) >> 4)
}

/// Writes into the spare part of a sink.
pub(super) struct Pen<'a> {
    spare: &'a mut [u8],
    at: usize,
}

impl<'a> Pen<'a> {
    #[inline]
    pub(super) const fn new(spare: &'a mut [u8]) -> Self {
        Self { spare, at: 0 }
    }

    /// Bytes written so far.
    #[inline]
    pub(super) const fn written(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.spare[self.at] = byte;
        self.at += 1;
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.spare[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += N;
    }

    /// A frame's integer: 8 bytes, big endian.
    #[inline]
    pub(super) fn frame_integer(&mut self, value: u64) {
        self.array(value.to_be_bytes());
    }

    /// Leaves eight bytes for [`Pen::fill_in_length`]; where they are.
    #[inline(always)]
    pub(super) const fn leave_length(&mut self) -> usize {
        let at = self.at;
        self.at += size_of::<u64>();
        at
    }

    /// Writes the integer that [`Pen::leave_length`] left out.
    #[inline(always)]
    pub(super) fn fill_in_length(&mut self, at: usize, value: u64) {
        self.spare[at..at + size_of::<u64>()].copy_from_slice(&value.to_be_bytes());
    }

    /// Bytes that can still be written.
    #[inline(always)]
    pub(super) const fn left(&self) -> usize {
        self.spare.len() - self.at
    }

    /// Copies `bytes`, of which there is room for.
    #[inline(always)]
    pub(super) fn slice(&mut self, bytes: &[u8]) {
        self.spare[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    // Always inlined, like `scalar`: through a call the pen would live in memory, which costs more
    // than the varint.
    #[inline(always)]
    pub(super) fn varint(&mut self, value: u64) {
        if value < 0x80 {
            self.byte(value as u8);
        } else if value >> WORD_BITS == 0 {
            let count = varint_size(value);
            // Continuation bits on all bytes but the last. Whole words are written: the bytes
            // behind the varint are spare and overwritten by what follows.
            let word = spread(value) | (CONTINUE & ((1 << (8 * (count - 1))) - 1));
            self.spare[self.at..self.at + 8].copy_from_slice(&word.to_le_bytes());
            self.at += count;
        } else {
            self.varint_long(value);
        }
    }

    /// Nine or ten bytes: ids are random, so they mostly come here.
    #[inline(never)]
    fn varint_long(&mut self, value: u64) {
        self.array((spread(value) | CONTINUE).to_le_bytes());
        let high = (value >> WORD_BITS) as u8;
        if high < 0x80 {
            self.byte(high);
        } else {
            self.array([high, 1]);
        }
    }

    /// A key and its varint, the form of all scalars.
    #[inline(always)]
    pub(super) fn scalar(&mut self, key: u8, value: u64) {
        self.byte(key);
        self.varint(value);
    }
}

/// What was found is not the plain form that is read by hand. Not an error yet: prost decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unusual;

/// Reads fields in ascending order from `bytes[at..]`.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where it stands, counted from the front of the slice it was made of.
    #[inline]
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn next_is(&self, key: u8) -> bool {
        self.bytes.get(self.at) == Some(&key)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Unusual> {
        let first = *self.bytes.get(self.at).ok_or(Unusual)?;
        if first < 0x80 {
            self.at += 1;
            return Ok(u64::from(first));
        }
        self.varint_word()
    }

    #[inline]
    fn varint_word(&mut self) -> Result<u64, Unusual> {
        let Some(word) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) else {
            return self.varint_bytewise();
        };
        let word = u64::from_le_bytes(*word);
        let ends = !word & CONTINUE;
        if ends == 0 {
            return self.varint_bytewise();
        }
        // All bits up to and including the continuation bit of the last byte.
        let mask = ends ^ (ends - 1);
        self.at += (ends.trailing_zeros() as usize + 1) / 8;
        Ok(squeeze(word & mask))
    }

    /// At the end of the bytes, or nine and ten bytes long.
    #[inline]
    fn varint_bytewise(&mut self) -> Result<u64, Unusual> {
        let mut value = 0;
        for (n, &byte) in self.bytes[self.at..].iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                if n == VARINT_BYTES_MAX - 1 && byte > 1 {
                    return Err(Unusual);
                }
                self.at += n + 1;
                return Ok(value);
            }
        }
        Err(Unusual)
    }

    /// The varint behind `key` if that comes next.
    #[inline]
    pub(super) fn scalar(&mut self, key: u8) -> Result<Option<u64>, Unusual> {
        if !self.next_is(key) {
            return Ok(None);
        }
        self.at += 1;
        self.varint().map(Some)
    }

    /// The range of what is behind `key` and a length, if that comes next.
    #[inline]
    pub(super) fn delimited(&mut self, key: u8) -> Result<Option<std::ops::Range<usize>>, Unusual> {
        let Some(len) = self.scalar(key)? else {
            return Ok(None);
        };
        if len > (self.bytes.len() - self.at) as u64 {
            return Err(Unusual);
        }
        let start = self.at;
        self.at += len as usize;
        Ok(Some(start..self.at))
    }

    /// Nothing may be left: what is was not expected.
    #[inline]
    pub(super) const fn done(&self) -> Result<(), Unusual> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(Unusual) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> impl Iterator<Item = u64> {
        let edges = (0..64).flat_map(|bit| {
            let power = 1u64 << bit;
            [power - 1, power, power + 1, power ^ 0x5555_5555_5555_5555, power.wrapping_mul(0x91bc_3c39)]
        });
        edges.chain([u64::MAX, u64::MAX - 1])
    }

    #[test]
    fn varints_are_written_and_read_as_prost_does() {
        for value in samples() {
            let mut expected = Vec::new();
            prost::encoding::encode_varint(value, &mut expected);
            let mut spare = [0xff; 32];
            let mut pen = Pen::new(&mut spare);
            pen.varint(value);
            let written = pen.written();
            assert_eq!(spare[..written], expected, "{value:#x}");
            assert_eq!(varint_size(value), written, "{value:#x}");
            // With and without bytes behind it: both ways of reading.
            for end in [written, 32] {
                let mut cursor = Cursor::new(&spare[..end], 0);
                assert_eq!(cursor.varint(), Ok(value), "{value:#x}");
                assert_eq!(cursor.at(), written);
            }
        }
    }

    #[test]
    fn overlong_and_unfinished_varints_are_unusual_and_padded_ones_are_read() {
        let padded = [0x81, 0x80, 0x00, 0xff];
        assert_eq!(Cursor::new(&padded, 0).varint(), Ok(1));
        for bad in [
            &[][..],
            &[0x80],
            &[0xff; 9],
            &[0xff; 10],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert_eq!(Cursor::new(bad, 0).varint(), Err(Unusual), "{bad:x?}");
        }
    }
}
