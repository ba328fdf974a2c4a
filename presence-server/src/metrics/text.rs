//! Figures as Prometheus reads them, one line of code each.

use std::fmt;

use presence_core::Timestamp;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder},
    metrics::MetricType,
    registry::Unit,
};

/// Writes metrics: the name without its unit and `_total`, what it means, and the figures.
pub(super) trait Text {
    /// A number that only rises.
    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result;
    /// Numbers that only rise, by labels.
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        counts: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result;
    /// A number as it is now.
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result;
    /// Numbers as they are now, by labels.
    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result;
    /// An instant in seconds.
    fn instant(&mut self, name: &str, help: &str, at: Timestamp) -> fmt::Result;
    /// Instants in seconds, by labels.
    fn instants<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        instants: impl Iterator<Item = (L, Timestamp)>,
    ) -> fmt::Result;
    /// Histograms in seconds, which the caller writes.
    fn durations<'a>(&'a mut self, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error>;
}

impl Text for DescriptorEncoder<'_> {
    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<[(&str, &str); 0], _, u64>(&count, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        mut counts: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut encoder = self.encode_descriptor(name, help, None, MetricType::Counter)?;
        counts.try_for_each(|(labels, count)| {
            encoder.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&count, None)
        })
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        mut values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut encoder = self.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.try_for_each(|(labels, value)| encoder.encode_family(&labels)?.encode_gauge(&value))
    }

    fn instant(&mut self, name: &str, help: &str, at: Timestamp) -> fmt::Result {
        self.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?
            .encode_gauge(&seconds(at))
    }

    fn instants<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        mut instants: impl Iterator<Item = (L, Timestamp)>,
    ) -> fmt::Result {
        let mut encoder = self.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        instants.try_for_each(|(labels, at)| encoder.encode_family(&labels)?.encode_gauge(&seconds(at)))
    }

    fn durations<'a>(&'a mut self, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}
