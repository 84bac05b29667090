//! What a message will take once decoded, found out before prost decodes it.
//!
//! Two bytes of wire can be an empty response of 232 bytes in memory, or one byte of a packed list
//! eight: 512 MiB of them would be worth gigabytes. So before prost sees an unusual message, the
//! fields that multiply are counted here, without taking any memory.
//!
//! ```text
//!   Message.entries                                             one entry
//!   Message.responses                                           one message, and all that is in it
//!   Message.snapshot                                            one snapshot
//!   Message.snapshot.metadata.conf_state. 1 to 4                an id; packed: an id a byte at most
//! ```
//!
//! It follows only these paths; bytes that are no protobuf end the count silently, for prost stops
//! at the same place and says what is wrong.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::limits::{DecodeError, FrameLimits};
use crate::raftpb::{Message, Snapshot};

/// As prost's `RECURSION_LIMIT`: it gives up on what is deeper.
const DEPTH_MAX: u32 = 100;

/// Refuses the message in `bytes` if it would take too much memory.
pub(super) fn check(bytes: &[u8], limits: &FrameLimits) -> Result<(), DecodeError> {
    let mut scale = Scale { limits: *limits, entries: 0, extras: 0 };
    scale.weigh(bytes, Part::Message, DEPTH_MAX)
}

/// The messages on the way to what multiplies.
#[derive(Clone, Copy)]
enum Part {
    Message,
    Snapshot,
    Metadata,
    ConfState,
}

struct Scale {
    limits: FrameLimits,
    entries: usize,
    /// Bytes of decoded responses, snapshots and ids.
    extras: usize,
}

impl Scale {
    fn weigh(&mut self, mut bytes: &[u8], part: Part, depth: u32) -> Result<(), DecodeError> {
        while !bytes.is_empty() && depth > 0 {
            let Ok((tag, wire_type)) = decode_key(&mut bytes) else { break };
            if wire_type == WireType::LengthDelimited {
                let Some(inside) = take_delimited(&mut bytes) else { break };
                self.weigh_delimited(inside, part, tag, depth - 1)?;
            } else {
                if matches!((part, tag), (Part::ConfState, 1..=4)) {
                    self.add_extra(size_of::<u64>())?;
                }
                if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn weigh_delimited(
        &mut self,
        inside: &[u8],
        part: Part,
        tag: u32,
        depth: u32,
    ) -> Result<(), DecodeError> {
        match (part, tag) {
            (Part::Message, 7) => self.add_entry(),
            (Part::Message, 9) => {
                self.add_extra(size_of::<Snapshot>())?;
                self.weigh(inside, Part::Snapshot, depth)
            }
            (Part::Message, 14) => {
                self.add_extra(size_of::<Message>())?;
                self.weigh(inside, Part::Message, depth)
            }
            (Part::Snapshot, 2) => self.weigh(inside, Part::Metadata, depth),
            (Part::Metadata, 1) => self.weigh(inside, Part::ConfState, depth),
            (Part::ConfState, 1..=4) => self.add_extra(inside.len().saturating_mul(size_of::<u64>())),
            _ => Ok(()),
        }
    }

    fn add_entry(&mut self) -> Result<(), DecodeError> {
        self.entries += 1;
        self.limits.check_entries(self.entries as u64).map(drop)
    }

    fn add_extra(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.extras = self.extras.saturating_add(bytes);
        if self.extras > FrameLimits::EXTRAS_BYTES_MAX {
            return Err(DecodeError::ExtrasOverLimit);
        }
        Ok(())
    }
}

fn take_delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (inside, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_small(bytes: &[u8]) -> Result<(), DecodeError> {
        check(bytes, &FrameLimits { entries_max: 3, ..FrameLimits::default() })
    }

    fn nested(key: u8, inside: &[u8]) -> Vec<u8> {
        let mut bytes = vec![key];
        prost::encoding::encode_varint(inside.len() as u64, &mut bytes);
        bytes.extend_from_slice(inside);
        bytes
    }

    #[test]
    fn entries_count_at_every_level() {
        assert_eq!(check_small(&[0x3a, 0, 0x3a, 0, 0x3a, 0]), Ok(()));
        let four = [&[0x3a, 0, 0x3a, 0][..], &nested(0x72, &[0x3a, 0, 0x3a, 0])].concat();
        assert_eq!(check_small(&four), Err(DecodeError::EntriesOverLimit { count: 4, max: 3 }));
    }

    #[test]
    fn many_responses_are_refused() {
        let most = FrameLimits::EXTRAS_BYTES_MAX / size_of::<Message>();
        assert_eq!(check_small(&[0x72, 0].repeat(most)), Ok(()));
        assert_eq!(check_small(&[0x72, 0].repeat(most + 1)), Err(DecodeError::ExtrasOverLimit));
        // An unknown group in front hides nothing.
        let hidden = [&[0xa3, 0x06, 0xa4, 0x06][..], &[0x72, 0].repeat(most + 1)].concat();
        assert_eq!(check_small(&hidden), Err(DecodeError::ExtrasOverLimit));
    }

    #[test]
    fn many_members_are_refused_packed_or_not() {
        let most = FrameLimits::EXTRAS_BYTES_MAX / size_of::<u64>();
        for ids in [nested(0x0a, &vec![1; most]), [0x10, 1].repeat(most)] {
            let snapshot = nested(0x4a, &nested(0x12, &nested(0x0a, &ids)));
            assert_eq!(check_small(&snapshot), Err(DecodeError::ExtrasOverLimit));
        }
    }
}
