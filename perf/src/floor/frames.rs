//! The bytes of the load, as they stand inside the streams.

use prost::Message as _;

use crate::message::Messages;
use crate::plan::Plan;

/// Finished frames.
pub struct Frames {
    /// An `AppEntries` of the msgapp stream: `01`, count, each entry behind its length, commit.
    pub append: Vec<u8>,
    /// A MsgAppResp of the message stream, behind its length.
    pub answer: Vec<u8>,
}

impl Frames {
    /// The frames of `plan`.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let messages = Messages::new(plan);
        let message = messages.append(0, 1);
        let mut append = vec![1];
        append.extend((message.entries.len() as u64).to_be_bytes());
        for entry in &message.entries {
            append.extend((entry.encoded_len() as u64).to_be_bytes());
            append.extend(entry.encode_to_vec());
        }
        append.extend(message.commit.unwrap_or(0).to_be_bytes());
        let body = messages.answer(&message).encode_to_vec();
        let answer = [&(body.len() as u64).to_be_bytes()[..], &body].concat();
        Self { append, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::push;

    #[test]
    fn an_append_has_its_entries_and_its_commit() {
        let plan = push();
        let frames = Frames::new(&plan);
        assert_eq!(frames.append[..9], [1, 0, 0, 0, 0, 0, 0, 0, plan.entries_per_message as u8]);
        let entry = u64::from_be_bytes(frames.append[9..17].try_into().expect("eight bytes")) as usize;
        assert_eq!(frames.append.len(), 1 + 8 + plan.entries_per_message * (8 + entry) + 8);
    }
}
