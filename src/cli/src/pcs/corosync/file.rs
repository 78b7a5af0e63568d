//! A `corosync.conf` as it is written: sections within sections, pairs in order, and the comments above each. All that edits one
//! goes through here.

/// A section; the whole file is one without a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    items: Vec<Item>,
    pub sections: Vec<Section>,
    /// Comments that stand above it, and those below all that it holds.
    above: Vec<String>,
    below: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Item {
    above: Vec<String>,
    name: String,
    value: String,
}

/// Sections within each other, at most.
const MAX_DEPTH: usize = 16;

impl Section {
    pub fn new(name: &str) -> Section {
        Section { name: name.to_owned(), ..Section::default() }
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.items.iter().rev().find(|i| i.name == name).map(|i| i.value.as_str())
    }

    pub fn items(&self) -> impl Iterator<Item = (&str, &str)> {
        self.items.iter().map(|i| (i.name.as_str(), i.value.as_str()))
    }

    /// In its place, or at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.items.iter_mut().find(|i| i.name == name) {
            Some(there) => value.clone_into(&mut there.value),
            None => self.items.push(Item { above: Vec::new(), name: name.to_owned(), value: value.to_owned() }),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.items.retain(|i| i.name != name);
    }

    /// Whether there was one of that name.
    pub fn remove_section(&mut self, name: &str) -> bool {
        let before = self.sections.len();
        self.sections.retain(|s| s.name != name);
        self.sections.len() < before
    }

    /// Pairs in the order of their names.
    pub fn sort(&mut self) {
        self.items.sort_by(|a, b| a.name.cmp(&b.name));
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// The first of that name, made if there is none.
    pub fn section_mut(&mut self, name: &str) -> &mut Section {
        let at = self.sections.iter().position(|s| s.name == name).unwrap_or_else(|| {
            self.sections.push(Section::new(name));
            self.sections.len() - 1
        });
        &mut self.sections[at]
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Section> {
        self.section("nodelist").into_iter().flat_map(|l| l.sections.iter().filter(|s| s.name == "node"))
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out
    }

    fn write(&self, level: usize, out: &mut String) {
        let pad = "    ".repeat(level);
        let mut first = self.items.is_empty();
        let comments = |all: &[String], out: &mut String| all.iter().for_each(|c| *out += &format!("{pad}{c}\n"));
        for item in &self.items {
            comments(&item.above, out);
            *out += &format!("{pad}{}: {}\n", item.name, item.value);
        }
        for section in &self.sections {
            if !first {
                out.push('\n');
            }
            first = false;
            comments(&section.above, out);
            *out += &format!("{pad}{} {{\n", section.name);
            section.write(level + 1, out);
            *out += &format!("{pad}}}\n");
        }
        comments(&self.below, out);
    }
}

/// Reads a file; an error says what is wrong.
pub fn parse(text: &str) -> Result<Section, String> {
    let mut open = vec![Section::new("")];
    let mut comments: Vec<String> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let wrong = |why: &str| Err(format!("line {}: {why}", number + 1));
        if line.is_empty() {
            continue;
        }
        if line.starts_with('#') {
            comments.push(line.to_owned());
            continue;
        }
        if let Some(name) = line.strip_suffix('{') {
            if open.len() > MAX_DEPTH {
                return wrong("too many sections within each other");
            }
            open.push(Section { above: std::mem::take(&mut comments), ..Section::new(name.trim()) });
        } else if line == "}" {
            match (open.pop(), open.last_mut()) {
                (Some(mut section), Some(holder)) => {
                    section.below = std::mem::take(&mut comments);
                    holder.sections.push(section);
                }
                _ => return wrong("Unexpected closing brace"),
            }
        } else if let (Some((name, value)), Some(section)) = (line.split_once(':'), open.last_mut()) {
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            section.items.push(Item { above: std::mem::take(&mut comments), name, value });
        } else {
            return wrong("Line is not opening or closing section or key: value");
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(mut root), true) => {
            root.below = comments;
            Ok(root)
        }
        _ => Err("Missing closing brace".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let text = "totem {\n    version: 2\n\n    interface {\n        linknumber: 0\n    }\n}\n\nquorum {\n    two_node: 1\n}\n";
        let mut conf = parse(text).expect("good");
        assert_eq!(conf.text(), text);
        conf.section_mut("quorum").remove("two_node");
        conf.section_mut("totem").set("version", "3");
        assert!(conf.text().contains("version: 3\n") && !conf.text().contains("two_node"));
    }

    #[test]
    fn comments_stay_where_they_are() {
        let text = "# ours\ntotem {\n    # two\n    version: 2\n\n    # the first\n    interface {\n        linknumber: 0\n    }\n    # end\n}\n# of all\n";
        let mut conf = parse(text).expect("good");
        assert_eq!(conf.text(), text);
        conf.section_mut("totem").set("token", "3000");
        assert_eq!(conf.text().matches('#').count(), 5);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for bad in ["totem {", "}", "what", &"a {\n".repeat(100_000)] {
            assert!(parse(bad).is_err());
        }
    }
}
