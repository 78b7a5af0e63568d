//! The manual on the page: the chapters that `bascule manual` prints, as HTML. They are the program's own text; nobody has to log in for it.

use pulldown_cmark::{Options, Parser, html};

pub const PATH: &str = "/manual";

const CHAPTERS: [(&str, &str); 9] = [
    ("first-pair", include_str!("../../../manual/first-pair.md")),
    ("topologies", include_str!("../../../manual/topologies.md")),
    ("fencing", include_str!("../../../manual/fencing.md")),
    ("monitoring", include_str!("../../../manual/monitoring.md")),
    ("coming-from-keepalived", include_str!("../../../manual/coming-from-keepalived.md")),
    ("coming-from-pacemaker", include_str!("../../../manual/coming-from-pacemaker.md")),
    ("commands", include_str!("../../../manual/commands.md")),
    ("messages", include_str!("../../../manual/messages.md")),
    ("architecture", include_str!("../../../manual/architecture.md")),
];

fn title(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
}

/// The page of a path, or nothing where there is none.
pub fn page(path: &str) -> Option<String> {
    let topic = path.strip_prefix(PATH)?.trim_start_matches('/');
    let found = CHAPTERS.iter().find(|(name, _)| *name == topic);
    if found.is_none() && !topic.is_empty() {
        return None;
    }
    let (name, text) = found.map_or(("Manual", ""), |(_, text)| (title(text), *text));
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(text, Options::ENABLE_TABLES));
    let links: String = CHAPTERS
        .iter()
        .map(|(topic, text)| format!("<li><a href=\"{PATH}/{topic}\">{}</a></li>", title(text)))
        .collect();
    Some(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{name} - Bascule</title><link rel=\"stylesheet\" href=\"/style.css\"></head><body><main><nav aria-label=\"Chapters\">\
         <ul>{links}</ul></nav>{body}</main></body></html>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chapters_are_pages_and_nothing_else_is() {
        let all = page("/manual").expect("a page");
        for (topic, text) in CHAPTERS {
            let found = page(&format!("/manual/{topic}")).expect("a page");
            assert!(
                found.contains(&format!("<h1>{}</h1>", title(text))) && all.contains(&format!("/manual/{topic}\""))
            );
        }
        assert!(page("/manual/none").is_none() && page("/manual/../etc").is_none() && page("/").is_none());
        assert!(page("/manual/topologies").is_some_and(|p| p.contains("<table>")));
    }
}
