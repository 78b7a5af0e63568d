//! `bascule manual`: the chapters of `src/manual`, each command's help, and a paragraph for each message that has a name.

use crate::report::put;
use ::ldirectord::config::DEVIATIONS;
use base::exit::crm;
use clap::Parser;
use serde_json::json;
use std::ffi::OsString;

/// By topic, in the order of `src/manual/SUMMARY.md`.
const CHAPTERS: [(&str, &str); 10] = [
    ("first-pair", include_str!("../../manual/first-pair.md")),
    ("daily-work", include_str!("../../manual/daily-work.md")),
    ("topologies", include_str!("../../manual/topologies.md")),
    ("fencing", include_str!("../../manual/fencing.md")),
    ("monitoring", include_str!("../../manual/monitoring.md")),
    ("coming-from-keepalived", include_str!("../../manual/coming-from-keepalived.md")),
    ("coming-from-pacemaker", include_str!("../../manual/coming-from-pacemaker.md")),
    ("commands", include_str!("../../manual/commands.md")),
    ("messages", include_str!("../../manual/messages.md")),
    ("architecture", include_str!("../../manual/architecture.md")),
];

/// Read the manual: chapters, commands, messages
#[derive(Parser, Debug)]
#[command(
    name = "manual",
    disable_version_flag = true,
    after_help = "Examples:
  bascule manual                        what there is
  bascule manual first-pair             a chapter
  bascule manual crm_mon                a command
  bascule manual arp-ignore             what a finding of 'bascule doctor' means
  bascule manual --search lost packets  lines with these words

The same is on the page of 'bascule pcsd' (/manual), and a book for mdBook in src/manual.

Exit codes: 0 shown; 64 wrong arguments; 105 there is no such topic, or nothing has these words"
)]
pub struct Manual {
    /// A chapter, a command, or the name of a message
    topic: Option<String>,
    /// Lines that have all these words
    #[arg(long, value_name = "WORDS", num_args = 1.., conflicts_with = "topic")]
    search: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is shown.
struct Page {
    topic: String,
    title: String,
    text: String,
}

pub fn main(args: Vec<OsString>) -> i32 {
    let manual = match crate::args::parse::<Manual>("manual", args) {
        Ok(manual) => manual,
        Err(code) => return code,
    };
    match (&manual.topic, manual.search.is_empty()) {
        (None, true) => manual.contents(),
        (Some(topic), _) => manual.show(topic),
        (None, false) => manual.found(),
    }
}

fn title(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
}

/// The part of the chapter on messages that is about one.
fn message(name: &str) -> Option<String> {
    let (_, text) = CHAPTERS.iter().find(|(topic, _)| *topic == "messages")?;
    let part = text.split("\n## ").skip(1).find(|p| p.lines().next() == Some(name))?;
    Some(format!("## {}\n", part.trim_end()))
}

fn deviation(name: &str) -> Option<String> {
    let row = DEVIATIONS.iter().find(|row| row.id == name)?;
    Some(format!(
        "## {name}\n\nIn an ldirectord.cf. The Perl original: {}.\nHere: {}.\nBecause: {}.\n",
        row.original, row.ours, row.reason
    ))
}

fn page(topic: &str) -> Option<Page> {
    let made = |title: &str, text: String| Page { topic: topic.to_owned(), title: title.to_owned(), text };
    if let Some((_, text)) = CHAPTERS.iter().find(|(name, _)| *name == topic) {
        return Some(made(title(text), (*text).to_owned()));
    }
    if let Some((name, make)) = crate::COMMANDS.iter().find(|(name, _)| *name == topic) {
        return Some(made(name, make().render_long_help().to_string()));
    }
    if let Some(applet) = crate::APPLETS.iter().find(|a| a.name == topic) {
        return Some(made(
            topic,
            format!("{}: {}\n\n'{0} help' and '{0} --help' list its commands.\n", applet.name, applet.about),
        ));
    }
    message(topic).or_else(|| deviation(topic)).map(|text| made(topic, text))
}

impl Manual {
    fn contents(&self) -> i32 {
        if self.json {
            let all: Vec<_> =
                CHAPTERS.iter().map(|(topic, text)| json!({"topic": topic, "title": title(text)})).collect();
            put(&format!("{:#}\n", json!(all)));
            return crm::OK;
        }
        let lines: String = CHAPTERS.iter().map(|(topic, text)| format!("  {topic:<24} {}\n", title(text))).collect();
        put(&format!(
            "Chapters (bascule manual TOPIC):\n{lines}\nAlso the name of a command, or of a message (bascule manual messages). \
             Words: bascule manual --search WORDS\n"
        ));
        crm::OK
    }

    fn show(&self, topic: &str) -> i32 {
        let Some(page) = page(topic) else {
            let names: Vec<&str> =
                CHAPTERS.iter().map(|(n, _)| *n).chain(crate::COMMANDS.iter().map(|(n, _)| *n)).collect();
            let near =
                cib::schema::closest(topic, &names).map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
            kernel::errln!(
                "manual: there is no topic '{topic}'{near} ('bascule manual' lists them, --search looks for words)"
            );
            return crm::NOSUCH;
        };
        match self.json {
            true => put(&format!("{:#}\n", json!({"topic": page.topic, "title": page.title, "text": page.text}))),
            false => put(&page.text),
        }
        crm::OK
    }

    fn found(&self) -> i32 {
        let words: Vec<String> = self.search.iter().flat_map(|w| w.split_whitespace()).map(str::to_lowercase).collect();
        let mut found = Vec::new();
        for (topic, text) in CHAPTERS {
            for (number, line) in (1..).zip(text.lines()) {
                let low = line.to_lowercase();
                if words.iter().all(|w| low.contains(w.as_str())) {
                    found.push((topic, number, line));
                }
            }
        }
        for (name, make) in crate::COMMANDS {
            let help = make().render_long_help().to_string().to_lowercase();
            if words.iter().all(|w| help.contains(w.as_str())) {
                let about = crate::APPLETS.iter().find(|a| a.name == *name).map_or("", |a| a.about);
                found.push((name, 0, about));
            }
        }
        if found.is_empty() {
            kernel::errln!("manual: nothing has all of these words: {}", words.join(" "));
            return crm::NOSUCH;
        }
        match self.json {
            true => {
                let all: Vec<_> = found.iter().map(|(t, n, l)| json!({"topic": t, "line": n, "text": l})).collect();
                put(&format!("{:#}\n", json!(all)));
            }
            false => {
                let line = |(topic, number, text): &(&str, u32, &str)| match number {
                    0 => format!("{topic}: {text}\n"),
                    number => format!("{topic}:{number}: {}\n", text.trim()),
                };
                put(&found.iter().map(line).collect::<String>());
            }
        }
        crm::OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn sources(dir: &Path, all: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => sources(&path, all),
                false if path.file_name().is_some_and(|n| n != "tests.rs") => all.push(path),
                false => {}
            }
        }
    }

    #[test]
    fn every_finding_of_the_doctor_has_a_paragraph() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor"), &mut files);
        let mut names = std::collections::BTreeSet::new();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "rs")) {
            let text = std::fs::read_to_string(file).expect("read");
            for kind in ["error(\"", "warning(\"", "note(\""] {
                names.extend(
                    text.split(kind).skip(1).filter_map(|t| t.split_once("\")")).map(|(name, _)| name.to_owned()),
                );
            }
        }
        names.retain(|n| n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        assert!(names.len() > 40, "{names:?}");
        let missing: Vec<&String> = names.iter().filter(|n| message(n).is_none()).collect();
        assert!(missing.is_empty(), "no paragraph in src/manual/messages.md: {missing:?}");
        for row in DEVIATIONS {
            assert!(page(row.id).is_some());
        }
    }

    #[test]
    fn the_book_has_the_chapters_in_their_order() {
        let summary = include_str!("../../manual/SUMMARY.md");
        let listed: Vec<(&str, &str)> =
            summary.lines().filter_map(|l| l.strip_prefix("- [")?.strip_suffix(".md)")?.split_once("](")).collect();
        let own: Vec<(&str, &str)> = CHAPTERS.iter().map(|(topic, text)| (title(text), *topic)).collect();
        assert_eq!(listed, own);
    }

    #[test]
    fn what_is_named_in_a_chapter_is_there() {
        for (chapter, text) in CHAPTERS {
            for word in text.split("bascule manual ").skip(1).filter_map(|t| t.split(['`', '\'', '\n', ' ']).next()) {
                let placeholder = word.chars().all(|c| c.is_ascii_uppercase() || c == '-') || word.starts_with('-');
                assert!(placeholder || page(word).is_some(), "{chapter}: {word}");
            }
        }
    }
}
