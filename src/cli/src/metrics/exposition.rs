//! Families of metrics in the order in which they are asked for, their series sorted: two scrapes of the same facts are the same text.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

type Labels = Vec<(&'static str, String)>;
type Series = Rc<RefCell<BTreeMap<Labels, f64>>>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Gauge,
    Counter,
}

struct Described {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    series: Series,
}

/// What is going to be said.
#[derive(Default)]
pub struct Exposition {
    families: Vec<Described>,
}

/// One family's series.
pub struct Family {
    series: Series,
}

impl Family {
    /// The later of two values with the same labels counts.
    pub fn set<const N: usize>(&self, labels: [(&'static str, impl ToString); N], value: f64) {
        let labels = labels.map(|(name, value)| (name, value.to_string())).to_vec();
        self.series.borrow_mut().insert(labels, value);
    }

    pub fn alone(&self, value: f64) {
        self.series.borrow_mut().insert(Labels::new(), value);
    }
}

impl Exposition {
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Family {
        self.family(name, help, Kind::Gauge)
    }

    /// The name without `_total`, which the format adds.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Family {
        self.family(name, help, Kind::Counter)
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) -> Family {
        let series = Series::default();
        self.families.push(Described { name, help, kind, series: series.clone() });
        Family { series }
    }

    pub fn text(self) -> String {
        let mut registry = Registry::default();
        let families = self.families.into_iter().filter_map(|family| {
            let series = family.series.take();
            (!series.is_empty()).then_some((family.name, family.help, family.kind, series))
        });
        registry.register_collector(Box::new(Told(families.collect())));
        let mut text = String::new();
        // Writing into memory does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

#[derive(Debug)]
struct Told(Vec<(&'static str, &'static str, Kind, BTreeMap<Labels, f64>)>);

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::metrics::MetricType;
        for (name, help, kind, series) in &self.0 {
            let kind_word = if *kind == Kind::Counter { MetricType::Counter } else { MetricType::Gauge };
            let mut family = encoder.encode_descriptor(name, help, None, kind_word)?;
            for (labels, value) in series {
                let encoder = family.encode_family(labels)?;
                match kind {
                    Kind::Gauge => ConstGauge::new(*value).encode(encoder)?,
                    Kind::Counter => ConstCounter::new(*value).encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}
