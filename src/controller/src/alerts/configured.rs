//! The section `alerts`, read: one entry for each recipient, or for the alert where it has none.

use super::event::{Event, Kind};
use base::WallTime;
use cib::config::Index;
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

pub const DEFAULT_TIMEOUT_MS: u64 = 30_000;
pub const DEFAULT_TIMESTAMP: &str = "%H:%M:%S.%06N";
/// What an alert without a filter is told of.
const DEFAULT_KINDS: [Kind; 3] = [Kind::Node, Kind::Fencing, Kind::Resource];

/// An agent with one recipient, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configured {
    pub alert: String,
    pub recipient: Option<String>,
    pub recipient_value: String,
    pub path: String,
    pub timeout_ms: u64,
    pub timestamp_format: String,
    /// Instance attributes: those of the recipient over those of the alert.
    pub environment: BTreeMap<String, String>,
    kinds: BTreeSet<Kind>,
    /// Only these attributes; empty for all.
    attributes: BTreeSet<String>,
}

impl Configured {
    pub(super) fn wants(&self, event: &Event) -> bool {
        self.kinds.contains(&event.kind())
            && event.attribute().is_none_or(|name| self.attributes.is_empty() || self.attributes.contains(name))
    }

    /// Takes on what an alert or a recipient says; false if that is switched off.
    fn read(&mut self, e: &Element, index: &Index<'_>, now: WallTime) -> bool {
        let meta = scheduler::settings_at(e, "meta_attributes", index, now);
        if meta.get("enabled").is_some_and(|v| !base::text::is_true(v)) {
            return false;
        }
        if let Some(timeout) = meta.get("timeout") {
            let ms = base::text::parse_ms(timeout).and_then(|ms| u64::try_from(ms).ok());
            self.timeout_ms = ms.filter(|ms| *ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS);
        }
        if let Some(format) = meta.get("timestamp-format") {
            self.timestamp_format = format.clone();
        }
        let own = scheduler::settings_at(e, "instance_attributes", index, now);
        self.environment.extend(own.into_iter().filter(|(name, _)| is_variable(name)));
        self.filter(e);
        true
    }

    fn filter(&mut self, e: &Element) {
        let Some(select) = e.child("select") else { return };
        let mut kinds = BTreeSet::new();
        for wanted in select.elements() {
            let kind = match wanted.name() {
                "select_nodes" => Kind::Node,
                "select_fencing" => Kind::Fencing,
                "select_resources" => Kind::Resource,
                "select_attributes" => Kind::Attribute,
                _ => continue,
            };
            kinds.insert(kind);
            self.attributes
                .extend(wanted.elements_named("attribute").filter_map(|a| a.attr("name")).map(str::to_owned));
        }
        if !kinds.is_empty() {
            self.kinds = kinds;
        }
    }
}

/// What a shell can hold as a variable, so that no setting becomes something else on the way.
fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// All alerts that are switched on, in document order.
pub fn configured(cib: &Element, now: WallTime) -> Vec<Configured> {
    let Some(configuration) = cib.child("configuration") else { return Vec::new() };
    let Some(section) = configuration.child("alerts") else { return Vec::new() };
    let index = Index::for_part(section, configuration);
    let mut all = Vec::new();
    for alert in section.elements_named("alert") {
        let (Some(id), Some(path)) = (alert.id(), alert.attr("path")) else { continue };
        let mut entry = Configured {
            alert: id.to_owned(),
            recipient: None,
            recipient_value: String::new(),
            path: path.to_owned(),
            timeout_ms: DEFAULT_TIMEOUT_MS,
            timestamp_format: DEFAULT_TIMESTAMP.to_owned(),
            environment: BTreeMap::new(),
            kinds: DEFAULT_KINDS.into(),
            attributes: BTreeSet::new(),
        };
        if !entry.read(alert, &index, now) {
            continue;
        }
        let mut recipients = alert.elements_named("recipient").peekable();
        if recipients.peek().is_none() {
            all.push(entry);
            continue;
        }
        for recipient in recipients {
            let mut own = entry.clone();
            own.recipient = recipient.id().map(str::to_owned);
            own.recipient_value = recipient.attr("value").unwrap_or_default().to_owned();
            if own.read(recipient, &index, now) {
                all.push(own);
            }
        }
    }
    all
}
