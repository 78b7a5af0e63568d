//! What differs from run to run, from release to release or from build to build is taken out of what is compared, on both sides.

/// Attributes left out, with the space before them.
const DROPPED: [&str; 4] = ["cib-last-written", "crm_feature_set", "validate-with", "last-rc-change"];
/// Attributes whose value is left out. The defaults of a few options depend on the build.
const BLANKED: [&str; 3] = ["api-version", "default", "version"];
/// Attributes left blank where they hold a date: the rest are names.
const DATES: [&str; 2] = ["start", "end"];
/// What follows these words is of this moment.
const MOMENTS: [&str; 3] = ["Last change:", "Last updated:", "Migration will take effect until:"];
/// Levels at which a source's own functions tell what they do: asked for by the suite with `PCMK_trace_functions`.
const TRACES: [&str; 4] = ["trace", "debug", "info", "notice"];

/// Lines without that.
pub fn steady<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for line in lines.filter_map(line) {
        // How often a document is unpacked, and its faults told, is a program's own matter.
        let is_log = line.starts_with("error: ") || line.starts_with("warning: ");
        if !(is_log && out.contains(&line)) {
            out.push(line);
        }
    }
    out
}

fn line(text: &str) -> Option<String> {
    let mut text = log_line(text)?;
    for word in MOMENTS {
        if let Some((before, _)) = text.clone().split_once(word) {
            text = format!("{before}{word}");
        }
    }
    if text.starts_with("Created new pacemaker") && text.ends_with(" configuration") {
        text = "Created new configuration".to_owned();
    }
    if let Some(at) = text.find("Relax-NG validity error : ") {
        text.drain(..at);
    }
    if text.contains("* Possible values") {
        text = between(&text, "(default: ", ")", |_| Some(String::new()));
    }
    if text.contains("(version ") {
        text = between(&text, "(version", ")", |_| Some(String::new()));
    }
    text = text.replace(
        "<change-attr name=\"crm_feature_set\" operation=\"set\" value=\"",
        "<change-attr name=\"crm_feature_set\" operation=\"set\" any=\"",
    );
    text = between(&text, "@crm_feature_set=", ", ", |_| Some(String::new()));
    text = between(&text, "@validate-with=", ",", |_| Some(String::new()));
    text = between(&text, " any=\"", "\"", |_| Some(String::new()));
    if text.contains("<change-attr name=\"validate-with\"") {
        text = between(&text, "value=\"pacemaker-", "\"", |_| Some(String::new()));
    }
    text = between(&text, "last-failure-ping#monitor_10000=", "", |v| {
        Some(v.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned())
    });
    if text.contains("request=\"") {
        text = between(&text, "-X '", "'", |_| Some("...".to_owned()));
    }
    for element in ["last_change", "last_update"] {
        if let Some((before, _)) = text.clone().split_once(&format!("<{element} ")) {
            text = format!("{before}<{element}/>");
        }
    }
    for name in DROPPED {
        text = without(&text, name);
    }
    for name in BLANKED {
        text = between(&text, &format!(" {name}=\""), "\"", |_| Some(String::new()));
    }
    for name in DATES {
        let dated = |v: &str| (v.is_empty() || is_date(v)).then(String::new);
        text = between(&text, &format!(" {name}=\""), "\"", dated);
    }
    Some(text)
}

/// `FUNCTION <tab>LEVEL: TEXT`: the function is the original's own, and so is what it traces.
fn log_line(text: &str) -> Option<String> {
    let Some((function, rest)) = text.split_once('\t') else { return Some(text.to_owned()) };
    let function = function.trim_end();
    let is_name = !function.is_empty() && function.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let Some((level, said)) = rest.split_once(": ").filter(|_| is_name) else { return Some(text.to_owned()) };
    match level {
        _ if TRACES.contains(&level) => None,
        "warning" | "error" => Some(format!("{level}: {said}")),
        _ => Some(text.to_owned()),
    }
}

fn is_date(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_digit()) && value.chars().all(|c| c.is_ascii_digit() || "-+: Z".contains(c))
}

/// Replaces what stands between each `head` and the next `tail` (to the end of the line, where that is empty).
fn between(text: &str, head: &str, tail: &str, new: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(head) {
        let end = if tail.is_empty() { after.len() } else { after.find(tail).unwrap_or(after.len()) };
        out += before;
        out += head;
        out += &new(&after[..end]).unwrap_or_else(|| after[..end].to_owned());
        rest = &after[end..];
    }
    out + rest
}

fn without(text: &str, name: &str) -> String {
    let mut out = text.to_owned();
    for quote in ['"', '\''] {
        let head = format!(" {name}={quote}");
        while let Some((before, after)) = out.clone().split_once(&head) {
            let Some((_, rest)) = after.split_once(quote) else { break };
            out = format!("{before}{}", rest.strip_prefix(',').unwrap_or(rest));
        }
    }
    out
}
