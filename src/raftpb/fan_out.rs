//! One list of entries for many followers.

use super::{Entry, Message, MessageType};

/// Makes an append of each head, which is a MsgApp without entries: it says to whom, of which term, and
/// behind which entry (`index`, `log_term`), and gets the entries of the list that follow on that one.
/// For engines that would otherwise copy the entries for each follower: payloads are shared, and what
/// is copied is 72 bytes an entry.
///
/// The indexes of `entries` follow on each other. A head gets none, and so becomes a probe, if it lies
/// before the list: who is that far behind needs older entries first. What the lanes of the transport
/// hold of a payload of 1 KiB or more is counted once, for however many followers it waits.
///
/// ```
/// use raftring::raftpb::{Entry, Message, MessageType, fan_out};
///
/// let entry = |index| Entry { index: Some(index), data: Some("x".into()), ..Entry::default() };
/// let entries = [entry(7), entry(8)];
/// let head = |to, index| Message {
///     r#type: Some(MessageType::MsgApp as i32), to: Some(to), index: Some(index), ..Message::default()
/// };
/// let appends: Vec<_> = fan_out(&entries, [head(2, 6), head(3, 7), head(4, 8), head(5, 3)]).collect();
/// let counts: Vec<_> = appends.iter().map(|append| append.entries.len()).collect();
/// assert_eq!(counts, [2, 1, 0, 0]);
/// ```
pub fn fan_out(entries: &[Entry], heads: impl IntoIterator<Item = Message>) -> impl Iterator<Item = Message> {
    debug_assert!(entries.is_sorted_by(|one, next| one.index().checked_add(1) == Some(next.index())));
    heads.into_iter().map(move |mut head| {
        debug_assert!(head.is(MessageType::MsgApp) && head.entries.is_empty(), "{head:?}");
        head.entries = behind(entries, head.index()).to_vec();
        head
    })
}

/// The entries that follow on the one at `index`.
fn behind(entries: &[Entry], index: u64) -> &[Entry] {
    let first = entries.first().map_or(0, Entry::index);
    let skipped = index.checked_add(1).and_then(|next| next.checked_sub(first));
    let skipped = skipped.and_then(|skipped| usize::try_from(skipped).ok());
    skipped.and_then(|skipped| entries.get(skipped..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entries(indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        let data = |index| Some(Bytes::from(vec![index as u8; 2048]));
        indexes.map(|index| Entry { index: Some(index), data: data(index), ..Entry::default() }).collect()
    }

    fn head(to: u64, index: u64) -> Message {
        Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(to),
            index: Some(index),
            ..Message::default()
        }
    }

    #[test]
    fn each_follower_gets_what_follows_on_its_head_and_nobody_a_gap() {
        let list = entries(5..=9);
        for (index, expected) in [(4, 5), (5, 4), (8, 1), (9, 0), (10, 0), (3, 0), (0, 0), (u64::MAX, 0)] {
            let append = fan_out(&list, [head(2, index)]).next().expect("one a head");
            assert_eq!(append.entries.len(), expected, "{index}");
            assert!(append.has_contiguous_entries());
            assert_eq!(append, Message { entries: append.entries.clone(), ..head(2, index) });
        }
        assert_eq!(
            fan_out(&[], [head(2, 0), head(3, 7)]).map(|append| append.entries.len()).sum::<usize>(),
            0
        );
    }

    #[test]
    fn payloads_are_shared() {
        let list = entries(1..=3);
        let appends: Vec<_> = fan_out(&list, (2..20).map(|to| head(to, 0))).collect();
        for append in &appends {
            for (entry, first) in append.entries.iter().zip(&list) {
                let data = |entry: &Entry| entry.data.as_ref().expect("it has data").as_ptr();
                assert_eq!(data(entry), data(first));
            }
        }
        assert_eq!(appends.len(), 18);
    }
}
