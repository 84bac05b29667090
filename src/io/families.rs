//! What cores tell to whoever scrapes: everything of [`CoreStats`], and how long messages stayed in each
//! stage.

use std::sync::Arc;

use super::insight::CoreStats;
use super::letter::CoreShared;
use crate::buf::BLOCK_BYTES;
use crate::metrics::{Families, Kind, Stage, Value};

type Named<T> = (&'static str, &'static str, fn(&CoreStats) -> T);

const GAUGES: [Named<f64>; 5] = [
    ("raftring_core_tasks", "Tasks alive.", |s| s.tasks as f64),
    ("raftring_core_operations", "Operations that the kernel holds.", |s| s.operations as f64),
    ("raftring_core_peers", "Peers that were placed there.", |s| s.peers as f64),
    ("raftring_core_busy_ratio", "The part of its time for which it was busy lately.", |s| s.busy),
    ("raftring_core_late_seconds_max", "How late a look at the deadlines was, at most.", |s| {
        s.late_max.as_secs_f64()
    }),
];

const COUNTERS: [Named<u64>; 11] = [
    ("raftring_core_turns_total", "Looks at everything that is not I/O.", |s| s.turns),
    ("raftring_core_parks_total", "Times that it slept.", |s| s.parks),
    ("raftring_core_spins_total", "Rounds of polling in which nothing was there.", |s| s.spins),
    ("raftring_core_wakes_total", "Wakes while it slept.", |s| s.rung),
    ("raftring_core_wakes_spared_total", "Rings that were not needed.", |s| s.suppressed),
    ("raftring_core_letter_batches_total", "Turns that found letters.", |s| s.letter_batches),
    ("raftring_core_letters_total", "Letters that they found.", |s| s.letters),
    ("raftring_core_process_calls_total", "Calls of the host with messages of a stream.", |s| {
        s.process_calls
    }),
    ("raftring_core_processed_messages_total", "Messages that they were given.", |s| s.processed),
    ("raftring_core_host_full_waits_total", "Streams left unread for a host that took no more.", |s| {
        s.host_full_waits
    }),
    ("raftring_core_panics_total", "Panics caught.", |s| s.panics),
];

/// Powers of four, in nanoseconds, from 1 us to 17 s: bounds at which buckets of [`Stage`]s end, so that
/// the counts are exact.
///
/// [`Stage`]: crate::metrics::Stage
const STAGE_SHIFTS: [u32; 13] = [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34];

/// Of these cores, of which there is one at least.
pub(crate) fn core_families(cores: &[&Arc<CoreShared>]) -> Families {
    let mut families = Families::default();
    let stats: Vec<_> = cores.iter().map(|core| (core.index, core.stats())).collect();
    for (name, help, of) in GAUGES {
        families.begin(Kind::Gauge, name, &["Core"], help);
        stats.iter().for_each(|(core, stats)| families.sample([core], Value::Level(of(stats))));
    }
    for (name, help, of) in COUNTERS {
        families.begin(Kind::Counter, name, &["Core"], help);
        stats.iter().for_each(|(core, stats)| families.sample([core], Value::Count(of(stats))));
    }
    blocks(&mut families, &stats);
    families.begin(Kind::Gauge, "raftring_queued_bytes", &[], "Payload bytes that wait in all lanes.");
    if let Some(core) = cores.first() {
        families.sample([], Value::Level(core.backlog.bytes() as f64));
    }
    stages(&mut families, cores);
    families
}

fn blocks(families: &mut Families, stats: &[(usize, CoreStats)]) {
    let labels = &["Core", "Bytes", "State"];
    families.begin(Kind::Gauge, "raftring_core_blocks", labels, "Blocks, by size and where they are.");
    for (core, stats) in stats {
        for (class, bytes) in BLOCK_BYTES.iter().enumerate() {
            let (out, idle) = (stats.blocks.out[class], stats.blocks.idle[class]);
            families.sample([core, bytes, &"out"], Value::Level(out as f64));
            families.sample([core, bytes, &"idle"], Value::Level(idle as f64));
        }
    }
}

fn stages(families: &mut Families, cores: &[&Arc<CoreShared>]) {
    let labels = &["Core", "Stage"];
    let help = "How long messages stayed in a stage of their way.";
    families.begin(Kind::Histogram, "raftring_stage_seconds", labels, help);
    for core in cores {
        for stage in Stage::ALL {
            let mut buckets = STAGE_SHIFTS.map(|shift| ((1_u64 << shift) as f64 / 1e9, 0_u64));
            let (mut sum, mut count) = (0.0, 0_u64);
            for (took, messages) in core.stages.each(stage) {
                let seconds = took.as_secs_f64();
                let above = buckets.iter_mut().filter(|(bound, _)| seconds <= *bound);
                above.for_each(|(_, count)| *count = count.wrapping_add(messages));
                sum += seconds * messages as f64;
                count = count.wrapping_add(messages);
            }
            let buckets = buckets.into();
            families.sample([&core.index, &stage.name()], Value::Histogram { buckets, sum, count });
        }
    }
}
