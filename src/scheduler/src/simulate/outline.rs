//! Nested lists as indented text.

use xml::Element;

#[derive(Default)]
pub(super) struct Outline {
    text: String,
    depth: usize,
    /// The same as elements, for programs; each stage takes its own.
    pub elements: Vec<Element>,
}

impl Outline {
    /// A line by itself.
    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub fn spacer(&mut self) {
        self.text.push('\n');
    }

    pub fn item(&mut self, text: &str) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        if self.depth > 0 {
            self.text.push_str("* ");
        }
        self.line(text);
    }

    pub fn begin(&mut self, title: &str) {
        self.item(&format!("{title}:"));
        self.depth += 1;
    }

    pub fn end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    pub fn element(&mut self, e: Element) {
        self.elements.push(e);
    }

    pub fn into_text(self) -> String {
        self.text
    }
}
