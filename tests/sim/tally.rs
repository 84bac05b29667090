//! What a run did, in numbers: a simulator that injects nothing finds nothing.

use std::fmt;

macro_rules! tally {
    ($($field:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub(crate) struct Tally {
            $(pub(crate) $field: u64,)*
        }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            pub(crate) fn get(&self, name: &str) -> u64 {
                match name {
                    $(stringify!($field) => self.$field,)*
                    _ => panic!("no tally of {name}"),
                }
            }

            /// Everything that must not be zero over many seeds.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}

tally! {
    seeds,
    simulated_ms,
    // The wire.
    split_reads,
    short_writes,
    delayed_segments,
    reader_pauses,
    rsts,
    fins,
    half_opens,
    corruptions,
    // Dials.
    connections,
    streams,
    refused_connects,
    refused_requests,
    dial_timeouts,
    http_1_0,
    replaced_attaches,
    // Ends of streams.
    ended_on_purpose,
    clean_eofs,
    unexpected_eofs,
    silences,
    broken_frames,
    too_slow,
    stalls,
    restarts,
    // Messages, each in one of the classes after `sent`.
    sent,
    delivered,
    without_stream,
    lane_full,
    lost_in_lane,
    reported_on_detach,
    lost_in_wire,
    lost_to_corruption,
    // Beside the sum.
    reported_yet_delivered,
    garbage_ignored,
    app_entries_frames,
    heartbeats_sent,
    heartbeats_received,
    bytes_on_wire,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in Self::NAMES {
            writeln!(f, "{:>12}  {}", self.get(name), name.replace('_', " "))?;
        }
        Ok(())
    }
}
