//! The two frame formats of the streams (protocol section 6).

mod sink;

pub use sink::{SPARE_MAX, Sink, VecSink};
