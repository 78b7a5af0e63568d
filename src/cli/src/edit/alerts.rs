//! Alerts and their recipients, as `pcs alert` and `crm configure alert` write them.

use super::{error, needs_free_id, set_pairs};
use crate::nvpairs::as_id;
use crate::source::Failure;
use xml::Element;

type Pairs = Vec<(String, String)>;

/// What is said of an alert or a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub description: Option<String>,
    /// Instance attributes; an empty value deletes.
    pub options: Pairs,
    pub meta: Pairs,
    /// New instance attributes stand before meta-attributes, as crmsh writes them; pcs the other way round.
    pub options_first: bool,
}

impl Said {
    fn write(&self, e: &mut Element) {
        match self.description.as_deref() {
            Some("") => drop(e.remove_attr("description")),
            Some(text) => e.set("description", text),
            None => {}
        }
        let id = e.id().unwrap_or_default().to_owned();
        let mut sets = [("meta_attributes", &self.meta), ("instance_attributes", &self.options)];
        if self.options_first {
            sets.reverse();
        }
        for (kind, pairs) in sets {
            set_pairs(e, kind, &format!("{id}-{kind}"), pairs);
        }
    }
}

/// A free id that begins with `wish`.
pub fn free_id(configuration: &Element, wish: &str) -> String {
    let wish = as_id(wish);
    let numbered = (1..).map(|n| format!("{wish}-{n}"));
    let mut all = std::iter::once(wish.clone()).chain(numbered);
    all.find(|id| needs_free_id(configuration, id).is_ok()).unwrap_or(wish)
}

/// Makes an alert; without an id it gets one.
pub fn create(configuration: &mut Element, id: Option<&str>, path: &str, said: &Said) -> Result<String, Failure> {
    let id = match id {
        Some(id) => needs_free_id(configuration, id).map(|()| id.to_owned())?,
        None => free_id(configuration, "alert"),
    };
    let mut alert = Element::new("alert").with("id", &id).with("path", path);
    said.write(&mut alert);
    configuration.child_or_insert("alerts").push(alert);
    Ok(id)
}

pub fn update(configuration: &mut Element, id: &str, path: Option<&str>, said: &Said) -> Result<(), Failure> {
    let alert = alert_mut(configuration, id)?;
    if let Some(path) = path {
        alert.set("path", path);
    }
    said.write(alert);
    Ok(())
}

/// Makes a recipient; without an id it gets one of the alert's.
pub fn add_recipient(
    configuration: &mut Element,
    alert: &str,
    id: Option<&str>,
    value: &str,
    said: &Said,
) -> Result<(), Failure> {
    alert_mut(configuration, alert)?;
    let id = match id {
        Some(id) => needs_free_id(configuration, id).map(|()| id.to_owned())?,
        None => free_id(configuration, &format!("{alert}-recipient")),
    };
    let mut recipient = Element::new("recipient").with("id", &id).with("value", value);
    said.write(&mut recipient);
    alert_mut(configuration, alert)?.push(recipient);
    Ok(())
}

pub fn update_recipient(
    configuration: &mut Element,
    id: &str,
    value: Option<&str>,
    said: &Said,
) -> Result<(), Failure> {
    let alerts = configuration.child_or_insert("alerts");
    let recipient = alerts.elements_mut().find_map(|a| a.elements_mut().find(|r| is_recipient(r, id)));
    let recipient = recipient.ok_or_else(|| no_recipient(id))?;
    if let Some(value) = value {
        recipient.set("value", value);
    }
    said.write(recipient);
    Ok(())
}

/// The alert that holds another recipient of that value.
pub fn holder_of_value(configuration: &Element, alert: &str, value: &str, except: Option<&str>) -> bool {
    let alerts = configuration.child("alerts");
    let alert = alerts.into_iter().flat_map(Element::elements).find(|a| a.id() == Some(alert));
    let mut recipients = alert.into_iter().flat_map(|a| a.elements_named("recipient"));
    recipients.any(|r| r.attr("value") == Some(value) && r.id() != except)
}

/// Id of the alert that a recipient belongs to.
pub fn alert_of(configuration: &Element, recipient: &str) -> Result<String, Failure> {
    let mut alerts = configuration.child("alerts").into_iter().flat_map(Element::elements);
    let found = alerts.find(|a| a.elements().any(|r| is_recipient(r, recipient)));
    found.and_then(Element::id).map(str::to_owned).ok_or_else(|| no_recipient(recipient))
}

pub fn alert_mut<'a>(configuration: &'a mut Element, id: &str) -> Result<&'a mut Element, Failure> {
    let alerts = configuration.child_or_insert("alerts");
    let found = alerts.elements_mut().find(|a| a.name() == "alert" && a.id() == Some(id));
    found.ok_or_else(|| error(format!("alert '{id}' does not exist")))
}

/// Removes alerts, or recipients (`kind`); all of them must be there.
pub fn remove(configuration: &mut Element, kind: &str, ids: &[&str]) -> Result<(), Vec<String>> {
    let alerts = configuration.child_or_insert("alerts");
    let there = |id: &str| alerts.descendants().any(|e| e.name() == kind && e.id() == Some(id));
    let missing: Vec<String> =
        ids.iter().filter(|id| !there(id)).map(|id| format!("{kind} '{id}' does not exist")).collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let goes = |e: &Element| e.name() == kind && e.id().is_some_and(|id| ids.contains(&id));
    alerts.retain_elements(|a| !goes(a));
    alerts.elements_mut().for_each(|a| a.retain_elements(|r| !goes(r)));
    Ok(())
}

fn is_recipient(e: &Element, id: &str) -> bool {
    e.name() == "recipient" && e.id() == Some(id)
}

fn no_recipient(id: &str) -> Failure {
    error(format!("recipient '{id}' does not exist"))
}
