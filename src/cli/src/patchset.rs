//! Differences of CIBs as people read them.

use std::fmt::Write;
use xml::Element;

/// What leads from one CIB to the other, versions included, but no digest: it is for people, not for a cluster.
pub fn between(old: &Element, new: &Element) -> Option<Element> {
    let mut patchset = cib::patchset(old, new)?;
    patchset.remove_attr("digest");
    Some(patchset)
}

/// One line for each change: what goes (`--`), comes (`++`), moves (`+~`) or changes (`+`), and where.
pub fn text(patchset: &Element) -> String {
    let mut out = header(patchset);
    for change in patchset.elements_named("change") {
        let path = change.attr("path").unwrap_or_default();
        let position = change.attr("position");
        match change.attr("operation").unwrap_or_default() {
            "create" => {
                for e in change.elements() {
                    created(&mut out, path, &e.to_pretty());
                }
            }
            "move" => drop(writeln!(out, "+~ {path} moved to offset {}", position.unwrap_or_default())),
            "delete" => match position {
                Some(position) => drop(writeln!(out, "-- {path} ({position})")),
                None => drop(writeln!(out, "-- {path}")),
            },
            "modify" => modified(&mut out, path, change),
            _ => {}
        }
    }
    out
}

fn header(patchset: &Element) -> String {
    let version = |name: &str| {
        let of = patchset.child("version").and_then(|v| v.child(name));
        let part = |attribute| of.and_then(|e| e.attr(attribute)).unwrap_or("0");
        format!("{}.{}.{}", part("admin_epoch"), part("epoch"), part("num_updates"))
    };
    let (source, target) = (version("source"), version("target"));
    if source == target {
        return format!("Local-only Change: {target}\n");
    }
    let format = patchset.attr("format").unwrap_or("(no format)");
    let digest = patchset.attr("digest").unwrap_or("(no digest)");
    format!("Diff: --- {source} {format}\nDiff: +++ {target} {digest}\n")
}

fn created(out: &mut String, path: &str, pretty: &str) {
    let blank = " ".repeat(path.len() + 1);
    for (n, line) in pretty.lines().enumerate() {
        let _ = match n {
            0 => writeln!(out, "++ {path}:  {line}"),
            _ => writeln!(out, "++ {blank}  {line}"),
        };
    }
}

fn modified(out: &mut String, path: &str, change: &Element) {
    let attributes = change.child("change-list");
    let of = |operation: &str| {
        let all = attributes.into_iter().flat_map(|l| l.elements_named("change-attr"));
        all.filter(|a| a.attr("operation") == Some(operation)).collect::<Vec<_>>()
    };
    let name = |a: &Element| a.attr("name").unwrap_or_default().to_owned();
    let set: Vec<String> =
        of("set").into_iter().map(|a| format!("@{}={}", name(a), a.attr("value").unwrap_or_default())).collect();
    let unset: Vec<String> = of("unset").into_iter().map(|a| format!("@{}", name(a))).collect();
    if !set.is_empty() {
        let _ = writeln!(out, "+  {path}:  {}", set.join(", "));
    }
    if !unset.is_empty() {
        let _ = writeln!(out, "-- {path}:  {}", unset.join(", "));
    }
}
