//! How a message proves what it is, without anybody remembering it.
//!
//! ```text
//!   0       4       8        16      24      32
//!   | epoch | class |  seq   | part  |  sum  | filler ...     the data of each entry, or the context
//! ```
//!
//! A MsgApp says its number in `commit` too: one without entries has no other place, and `01` frames
//! carry nothing else.

use std::sync::LazyLock;

use bytes::Bytes;
use raftring::raftpb::{Message, MessageType};

pub(super) const STAMP_BYTES: usize = 32;

/// Which run of the sending host, which stream it was meant for, and the how-manieth there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    pub(super) epoch: u32,
    pub(super) class: u32,
    pub(super) seq: u64,
}

/// Nobody's data, so that a shifted slice of it is never right by chance.
static FILLER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..(1 << 18)).flat_map(|_| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state ^ state >> 33).to_le_bytes()
    });
    words.collect()
});

/// The longest payload.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

impl Stamp {
    /// A payload of `len` bytes, or as many as the stamp needs.
    pub(super) fn payload(self, part: u64, len: usize) -> Bytes {
        let filler = len.clamp(STAMP_BYTES, PAYLOAD_BYTES_MAX) - STAMP_BYTES;
        let from = (self.seq.wrapping_mul(8191).wrapping_add(part * 131) % (1 << 20)) as usize;
        let mut data = Vec::with_capacity(STAMP_BYTES + filler);
        data.extend_from_slice(&self.epoch.to_le_bytes());
        data.extend_from_slice(&self.class.to_le_bytes());
        data.extend_from_slice(&self.seq.to_le_bytes());
        data.extend_from_slice(&part.to_le_bytes());
        data.extend_from_slice(&[0; 8]);
        data.extend_from_slice(&FILLER[from..from + filler]);
        let sum = sum_of(&data);
        data[24..32].copy_from_slice(&sum.to_le_bytes());
        data.into()
    }

    fn read(data: &[u8], part: u64) -> Result<Self, String> {
        if data.len() < STAMP_BYTES {
            return Err(format!("{} bytes are too few for a stamp", data.len()));
        }
        let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"));
        if word(24) != sum_of(data) {
            return Err("the sum over a payload is wrong".to_owned());
        }
        if word(16) != part {
            return Err(format!("part {} where part {part} belongs", word(16)));
        }
        Ok(Self { epoch: word(0) as u32, class: (word(0) >> 32) as u32, seq: word(8) })
    }

    /// What a message that arrived says of itself; `None` if it has no room for a whole stamp.
    pub(super) fn of(message: &Message) -> Result<Option<Self>, String> {
        let mut stamp = None;
        let contexts = message.context.iter().filter(|context| !context.is_empty());
        let data = message.entries.iter().map(|entry| entry.data());
        let payloads = data.chain(contexts.map(|context| &context[..]));
        for (part, payload) in payloads.enumerate() {
            let this = Self::read(payload, part as u64)?;
            if stamp.is_some_and(|stamp| stamp != this) {
                return Err(format!("one message with {stamp:?} and {this:?}"));
            }
            stamp = Some(this);
        }
        if let Some(stamp) = stamp
            && message.is(MessageType::MsgApp)
            && stamp.seq != message.commit()
        {
            return Err(format!("{stamp:?} on the append with commit {}", message.commit()));
        }
        Ok(stamp)
    }
}

/// A sum over everything but its own place. It need not withstand an enemy, only be quick: every
/// bit of the input changes it.
fn sum_of(data: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let mut sum = data.len() as u64;
    for part in [&data[..24], &data[STAMP_BYTES..]] {
        let (words, rest) = part.as_chunks::<8>();
        sum = words.iter().fold(sum, |sum, word| mix(sum, u64::from_le_bytes(*word)));
        sum = rest.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)));
    }
    sum
}
