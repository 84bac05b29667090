//! Body framing, undone in place.

/// Marks over one receive buffer, `start <= end <= raw <= filled <= buffer.len()`:
///
/// ```text
///   0        start        end       raw        filled       len
///   | consumed |   body    |   gap   |    raw    |   free    |
///              complete payload      bytes as they came,
///              bytes, not yet        not yet parsed
///              decoded
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// First payload byte that the codec has not consumed.
    pub start: usize,
    /// End of the contiguous payload.
    pub end: usize,
    /// First byte that the body decoder has not looked at.
    pub raw: usize,
    /// End of what was read.
    pub filled: usize,
}
