//! The same metrics for a registry of the crate `prometheus`.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::{Transport, metrics_of};
use crate::metrics::{Families, Family, Kind, Sample, Value};

/// What transports count, for `prometheus::Registry::register`. One for all transports of a registry:
/// it refuses a second, since the names are the same.
#[derive(Debug)]
pub struct MetricsCollector {
    transports: Vec<Transport>,
    descriptions: Vec<Desc>,
}

impl MetricsCollector {
    /// Of these transports and their cores, added up as [`metrics_of`] does.
    ///
    /// # Errors
    /// If the crate refuses a name, which its present release does not.
    pub fn new(transports: impl IntoIterator<Item = Transport>) -> Result<Self, prometheus::Error> {
        let transports: Vec<_> = transports.into_iter().collect();
        let describe = |family: &Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
        };
        let descriptions = metrics_of(&transports).iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { transports, descriptions })
    }
}

impl Collector for MetricsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let families: Families = metrics_of(&self.transports);
        families.iter().filter(|family| !family.samples.is_empty()).map(family_of).collect()
    }
}

fn family_of(family: &Family) -> proto::MetricFamily {
    let mut told = proto::MetricFamily::default();
    told.set_name(family.name.to_owned());
    told.set_help(family.help.to_owned());
    told.set_field_type(match family.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    told.set_metric(family.samples.iter().map(|sample| metric_of(family, sample)).collect());
    told
}

fn metric_of(family: &Family, sample: &Sample) -> proto::Metric {
    let label = |(name, value): (&&str, &String)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    };
    let mut told = proto::Metric::from_label(family.labels.iter().zip(&sample.labels).map(label).collect());
    match &sample.value {
        Value::Count(count) => {
            let mut counter = proto::Counter::default();
            counter.set_value(*count as f64);
            told.set_counter(counter);
        }
        Value::Level(level) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*level);
            told.set_gauge(gauge);
        }
        Value::Histogram { buckets, sum, count } => {
            let mut histogram = proto::Histogram::default();
            histogram.set_bucket(buckets.iter().map(bucket_of).collect());
            histogram.set_sample_sum(*sum);
            histogram.set_sample_count(*count);
            told.set_histogram(histogram);
        }
    }
    told
}

fn bucket_of((bound, count): &(f64, u64)) -> proto::Bucket {
    let mut bucket = proto::Bucket::default();
    bucket.set_upper_bound(*bound);
    bucket.set_cumulative_count(*count);
    bucket
}
