//! `cibadmin --query --show-access --user NAME`: the document with what NAME may do with each element.

use cib::acl::Shade;
use clap::ValueEnum;
use std::fmt::Write;
use xml::{Element, Node};

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Form {
    /// Colours on a terminal, else words.
    Auto,
    Color,
    Text,
    Namespace,
}

/// Words and marks of one form.
struct Style {
    form: Form,
    out: String,
}

const NAMESPACE: &str = "http://clusterlabs.org/ns/pacemaker/access/";

/// `shades` are those of all elements in document order.
pub fn render(root: &Element, shades: &[Shade], user: &str, form: Form, terminal: bool) -> String {
    let form = match form {
        Form::Auto if terminal => Form::Color,
        Form::Auto => Form::Text,
        form => form,
    };
    let mut style = Style { form, out: format!("<!-- ACLs as evaluated for user {user} -->\n") };
    style.element(root, &mut shades.iter().copied(), None, 0);
    style.out
}

impl Style {
    fn element(&mut self, e: &Element, shades: &mut dyn Iterator<Item = Shade>, above: Option<Shade>, depth: usize) {
        let shade = shades.next().unwrap_or(Shade::Denied);
        let indent = "  ".repeat(depth);
        let differs = above != Some(shade);
        let has_children = e.nodes().iter().any(|n| !matches!(n, Node::Comment(_)));
        let bare = e.attrs().fold(Element::new(e.name()), |copy, (name, value)| copy.with(name, value)).to_compact();
        let attributes = bare.trim_start_matches('<').trim_start_matches(e.name()).trim_end_matches("/>");
        let (mut name, mut extra, mut before, mut after) = (e.name().to_owned(), String::new(), "", "");
        match self.form {
            Form::Namespace if differs => name = format!("pcmk-access-{}:{}", word(shade), e.name()),
            Form::Namespace => {}
            Form::Color => (before, after) = (colour(shade), "\u{1b}[0m"),
            _ if differs => {
                let blank = if depth > 0 { format!("{indent}\n") } else { String::new() };
                let _ = writeln!(self.out, "{blank}{indent}{}", banner(shade));
            }
            _ => {}
        }
        if self.form == Form::Namespace && depth == 0 {
            for word in ["writable", "readable", "denied"] {
                let _ = write!(extra, " xmlns:pcmk-access-{word}=\"{NAMESPACE}{word}\"");
            }
        }
        if !has_children {
            let _ = writeln!(self.out, "{indent}{before}<{name}{attributes}{extra}/>{after}");
            return;
        }
        let _ = writeln!(self.out, "{indent}{before}<{name}{attributes}{extra}>");
        for node in e.nodes() {
            match node {
                Node::Element(child) => self.element(child, shades, Some(shade), depth + 1),
                Node::Text(text) => {
                    let _ = writeln!(self.out, "{indent}  {}", text.replace('&', "&amp;").replace('<', "&lt;"));
                }
                Node::Comment(_) => {}
            }
        }
        let _ = writeln!(self.out, "{indent}{before}</{name}>{after}");
    }
}

fn word(shade: Shade) -> &'static str {
    match shade {
        Shade::Writable => "writable",
        Shade::Readable => "readable",
        Shade::Denied => "denied",
    }
}

fn colour(shade: Shade) -> &'static str {
    match shade {
        Shade::Writable => "\u{1b}[32m",
        Shade::Readable => "\u{1b}[34m",
        Shade::Denied => "\u{1b}[31m",
    }
}

fn banner(shade: Shade) -> &'static str {
    match shade {
        Shade::Writable => "vvv---[ WRITABLE ]---vvv",
        Shade::Readable => "vvv---[ READABLE ]---vvv",
        Shade::Denied => "vvv---[ ~DENIED~ ]---vvv",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cib::acl::{Subject, shades};

    fn rendered(form: Form) -> String {
        let text = "<cib admin_epoch='0' epoch='3'><configuration><nodes/><resources/><constraints/><acls>\
             <acl_role id='r'><acl_permission id='a' kind='deny' xpath='/cib/configuration/acls'/>\
             <acl_permission id='b' kind='write' xpath='/cib/configuration/resources'/>\
             <acl_permission id='c' kind='read' xpath='/cib'/></acl_role><acl_target id='tony'><role id='r'/></acl_target>\
             </acls></configuration></cib>";
        let root = xml::parse(text).expect("XML");
        let tony = Subject::new("tony", Vec::new()).expect("not exempt");
        render(&root, &shades(&root, &tony).expect("sound"), "tony", form, false)
    }

    #[test]
    fn forms_are_the_originals() {
        let text = rendered(Form::Auto);
        assert!(text.starts_with(
            "<!-- ACLs as evaluated for user tony -->\nvvv---[ READABLE ]---vvv\n<cib admin_epoch=\"0\" epoch=\"3\">\n  <configuration>\n    \
             <nodes/>\n    \n    vvv---[ WRITABLE ]---vvv\n    <resources/>\n    <constraints/>\n    \n    vvv---[ ~DENIED~ ]---vvv\n    <acls>\n"
        ), "{text}");
        let namespaces = rendered(Form::Namespace);
        assert!(
            namespaces.contains(
                "\n    <pcmk-access-writable:resources/>\n    <constraints/>\n    <pcmk-access-denied:acls>\n"
            ),
            "{namespaces}"
        );
        assert!(
            namespaces.ends_with("</pcmk-access-denied:acls>\n  </configuration>\n</pcmk-access-readable:cib>\n"),
            "{namespaces}"
        );
        assert!(xml::parse(&namespaces.replace("pcmk-access-", "").replace(':', "_")).is_ok());
        let colours = rendered(Form::Color);
        assert!(
            colours.contains("    \u{1b}[32m<resources/>\u{1b}[0m\n")
                && colours.ends_with("\u{1b}[34m</cib>\u{1b}[0m\n"),
            "{colours}"
        );
    }
}
