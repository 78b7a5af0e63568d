//! What was fenced and is being fenced.

use super::{CrmMon, Section, View};
use crate::fencing::{self, Form};
use wire::api::{FenceEvent, FenceState};
use xml::Element;

/// All of it; below level 3 the newest of each flavour.
fn history(options: &CrmMon, view: &View<'_>) -> Vec<FenceEvent> {
    let sorted = fencing::sorted(view.fencing.clone());
    let all = if options.fence_level().is_ok_and(|l| l >= 3) { sorted } else { fencing::reduced(&sorted) };
    let wanted = |e: &FenceEvent| options.node.as_ref().is_none_or(|n| base::ids::same_node(n, &e.target));
    all.into_iter().filter(wanted).collect()
}

fn lines(options: &CrmMon, view: &View<'_>, title: &str, chosen: impl Fn(&FenceEvent) -> bool) -> String {
    let history = history(options, view);
    let form = Form { technical: options.show_detail, full: options.fence_level().is_ok_and(|l| l >= 2) };
    let told: Vec<String> = history
        .iter()
        .filter(|e| chosen(e))
        .map(|e| format!("  * {}\n", fencing::describe(e, &history, form)))
        .collect();
    if told.is_empty() { String::new() } else { format!("{title}:\n{}", told.concat()) }
}

pub(super) fn failed(options: &CrmMon, view: &View<'_>) -> String {
    lines(options, view, "Failed Fencing Actions", |e| e.state == FenceState::Failed)
}

/// What is under way, with what succeeded if that is shown.
pub(super) fn others(options: &CrmMon, view: &View<'_>) -> String {
    match options.shows(Section::FencingSucceeded) {
        true => lines(options, view, "Fencing History", |e| e.state != FenceState::Failed),
        false => lines(options, view, "Pending Fencing Actions", |e| e.state == FenceState::Pending),
    }
}

/// `fence_history`, if there is any.
pub(super) fn element(options: &CrmMon, view: &View<'_>) -> Option<Element> {
    let shown = |e: &FenceEvent| {
        options.shows(match e.state {
            FenceState::Pending => Section::FencingPending,
            FenceState::Success => Section::FencingSucceeded,
            FenceState::Failed => Section::FencingFailed,
        })
    };
    let events: Vec<Element> = history(options, view).iter().filter(|e| shown(e)).map(fencing::element).collect();
    let mut list = Element::new("fence_history").with("status", "0");
    let any = !events.is_empty();
    events.into_iter().for_each(|e| list.push(e));
    any.then_some(list)
}
