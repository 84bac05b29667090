//! Metrics on their way out: names, types, labels and values, and their text.

use std::fmt::Write as _;

/// The type of [`Families::to_text`] in HTTP.
pub const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
    /// It counts in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric with all its label values.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it tells, in a sentence.
    pub help: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels' names, in order.
    pub labels: &'static [&'static str],
    /// One for each combination of label values.
    pub samples: Vec<Sample>,
}

/// One combination of label values.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The values, in the order of the family's labels.
    pub labels: Vec<String>,
    /// What is told of it.
    pub value: Value,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Level(f64),
    /// Of a histogram.
    Histogram {
        /// Upper bounds, ascending, each with how many were not above it.
        buckets: Vec<(f64, u64)>,
        /// The sum of all.
        sum: f64,
        /// How many there were.
        count: u64,
    },
}

impl Value {
    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(value), Self::Count(more)) => *value = value.wrapping_add(*more),
            (Self::Level(value), Self::Level(more)) => *value += more,
            (
                Self::Histogram { buckets, sum, count },
                Self::Histogram { buckets: more, sum: more_sum, count: more_count },
            ) => {
                for ((_, value), (_, more)) in buckets.iter_mut().zip(more) {
                    *value = value.wrapping_add(*more);
                }
                *sum += more_sum;
                *count = count.wrapping_add(*more_count);
            }
            _ => {}
        }
    }
}

/// Metrics, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Families(Vec<Family>);

impl Families {
    /// All of them, those without a sample too.
    pub fn iter(&self) -> impl Iterator<Item = &Family> {
        self.0.iter()
    }

    /// Begins a metric. What [`Families::sample`] adds is of this one.
    pub(crate) fn begin(
        &mut self,
        kind: Kind,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) {
        self.0.push(Family { name, help, kind, labels, samples: Vec::new() });
    }

    /// Adds a value to the metric that was begun last.
    pub(crate) fn sample<const N: usize>(&mut self, labels: [&dyn ToString; N], value: Value) {
        if let Some(family) = self.0.last_mut() {
            debug_assert_eq!(family.labels.len(), N, "{}", family.name);
            let labels = labels.map(ToString::to_string).into();
            family.samples.push(Sample { labels, value });
        }
    }

    /// Adds those of others; what has the same name and label values is added up.
    pub fn merge(&mut self, others: Self) {
        for other in others.0 {
            match self.0.iter_mut().find(|family| family.name == other.name) {
                Some(family) => family.merge(other.samples),
                None => self.0.push(other),
            }
        }
    }

    /// The text that Prometheus reads, format 0.0.4. A metric without a sample is left out, as a
    /// vector without label values is in etcd.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            family.write(&mut text);
        }
        text
    }
}

impl Family {
    fn merge(&mut self, others: Vec<Sample>) {
        for other in others {
            match self.samples.iter_mut().find(|sample| sample.labels == other.labels) {
                Some(sample) => sample.value.add(&other.value),
                None => self.samples.push(other),
            }
        }
    }

    fn write(&self, text: &mut String) {
        let Self { name, help, kind, .. } = self;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        for sample in &self.samples {
            match &sample.value {
                Value::Count(count) => self.line(text, "", sample, None, &count.to_string()),
                Value::Level(level) => self.line(text, "", sample, None, &number(*level)),
                Value::Histogram { buckets, sum, count } => {
                    for (bound, count) in buckets {
                        self.line(text, "_bucket", sample, Some(&number(*bound)), &count.to_string());
                    }
                    self.line(text, "_bucket", sample, Some("+Inf"), &count.to_string());
                    self.line(text, "_sum", sample, None, &number(*sum));
                    self.line(text, "_count", sample, None, &count.to_string());
                }
            }
        }
    }

    fn line(&self, text: &mut String, suffix: &str, sample: &Sample, bound: Option<&str>, value: &str) {
        text.push_str(self.name);
        text.push_str(suffix);
        let labels = self.labels.iter().copied().zip(sample.labels.iter().map(String::as_str));
        let mut separator = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(text, "{separator}{label}=\"{}\"", escaped(value));
            separator = ',';
        }
        if separator == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

/// As Prometheus reads numbers.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Families {
        let mut families = Families::default();
        families.begin(Kind::Counter, "a_total", &["To"], "How many.");
        families.sample([&"1a2b"], Value::Count(7));
        families.sample([&"\"x\\\n"], Value::Count(u64::MAX));
        families.begin(Kind::Gauge, "nothing", &["To"], "Left out.");
        families.begin(Kind::Gauge, "b", &[], "A ratio.");
        families.sample([], Value::Level(0.25));
        families.begin(Kind::Histogram, "c_seconds", &["To"], "How long.");
        let buckets = vec![(0.0001, 0), (0.1, 2)];
        families.sample([&"2"], Value::Histogram { buckets, sum: 1.5, count: 3 });
        families
    }

    #[test]
    fn text_is_as_prometheus_reads_it() {
        let expected = r#"# HELP a_total How many.
# TYPE a_total counter
a_total{To="1a2b"} 7
a_total{To="\"x\\\n"} 18446744073709551615
# HELP b A ratio.
# TYPE b gauge
b 0.25
# HELP c_seconds How long.
# TYPE c_seconds histogram
c_seconds_bucket{To="2",le="0.0001"} 0
c_seconds_bucket{To="2",le="0.1"} 2
c_seconds_bucket{To="2",le="+Inf"} 3
c_seconds_sum{To="2"} 1.5
c_seconds_count{To="2"} 3
"#;
        assert_eq!(example().to_text(), expected);
    }

    #[test]
    fn what_has_the_same_labels_is_added_up() {
        let mut both = example();
        both.merge(example());
        let find = |name| both.iter().find(|family| family.name == name).expect("it is there");
        assert_eq!(find("a_total").samples.len(), 2);
        assert_eq!(find("a_total").samples[0].value, Value::Count(14));
        assert_eq!(find("b").samples[0].value, Value::Level(0.5));
        let buckets = vec![(0.0001, 0), (0.1, 4)];
        assert_eq!(find("c_seconds").samples[0].value, Value::Histogram { buckets, sum: 3.0, count: 6 });
        let mut all = Families::default();
        all.merge(example());
        assert_eq!(all, example());
    }
}
