//! A `corosync.conf` as it is written: sections within sections, pairs in order. Comments are not kept, as the original keeps none.

/// A section; the whole file is one without a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    items: Vec<(String, String)>,
    pub sections: Vec<Section>,
}

/// Sections within each other, at most.
const MAX_DEPTH: usize = 16;

impl Section {
    pub fn new(name: &str) -> Section {
        Section { name: name.to_owned(), ..Section::default() }
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.items.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn items(&self) -> &[(String, String)] {
        &self.items
    }

    /// In its place, or at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.items.iter_mut().find(|(n, _)| n == name) {
            Some((_, there)) => value.clone_into(there),
            None => self.items.push((name.to_owned(), value.to_owned())),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.items.retain(|(n, _)| n != name);
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
        self.items.iter().for_each(|(n, v)| *out += &format!("{pad}{n}: {v}\n"));
        for section in &self.sections {
            if !first {
                out.push('\n');
            }
            first = false;
            *out += &format!("{pad}{} {{\n", section.name);
            section.write(level + 1, out);
            *out += &format!("{pad}}}\n");
        }
    }
}

/// Reads a file; an error says what is wrong.
pub fn parse(text: &str) -> Result<Section, String> {
    let mut open = vec![Section::new("")];
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let wrong = |why: &str| Err(format!("line {}: {why}", number + 1));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_suffix('{') {
            if open.len() > MAX_DEPTH {
                return wrong("too many sections within each other");
            }
            open.push(Section::new(name.trim()));
        } else if line == "}" {
            match (open.pop(), open.last_mut()) {
                (Some(section), Some(holder)) => holder.sections.push(section),
                _ => return wrong("Unexpected closing brace"),
            }
        } else if let (Some((name, value)), Some(section)) = (line.split_once(':'), open.last_mut()) {
            section.items.push((name.trim().to_owned(), value.trim().to_owned()));
        } else {
            return wrong("Line is not opening or closing section or key: value");
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(root), true) => Ok(root),
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
    fn what_is_no_file_is_refused() {
        for bad in ["totem {", "}", "what", &"a {\n".repeat(100_000)] {
            assert!(parse(bad).is_err());
        }
    }
}
