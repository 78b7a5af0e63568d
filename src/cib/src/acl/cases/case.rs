//! One line of a file of cases (README.md beside this). Whoever includes this module has `Op`, `Request` and `Target` in scope.

use super::{Op, Request, Target};
use xml::Element;

#[derive(Clone, Copy)]
#[allow(dead_code, reason = "each that includes this looks at what it compares")]
pub struct Case<'a> {
    pub line: &'a str,
    pub user: &'a str,
    pub operation: &'a str,
    pub target: &'a str,
    pub code: i32,
    pub xml: &'a str,
    pub look: &'a str,
    /// What Pacemaker itself does, where it is another thing: its code, and the reason for ours.
    pub original: Option<(i32, &'a str)>,
}

/// The document of a file, and its cases.
pub fn read(text: &str) -> (&str, Vec<Case<'_>>) {
    let (document, lines) = text.split_once("\n====\n").expect("a document and cases");
    (document, lines.lines().map(Case::of).collect())
}

impl<'a> Case<'a> {
    fn of(line: &'a str) -> Case<'a> {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let field = |n: usize| fields.get(n).copied().unwrap_or_default();
        let original = field(6).split_once(' ').map(|(code, why)| (code.parse().expect("a code"), why));
        let code = field(3).parse().expect("a code");
        Case {
            line,
            user: field(0),
            operation: field(1),
            target: field(2),
            code,
            xml: field(4),
            look: field(5),
            original,
        }
    }

    pub fn payload(&self) -> Option<Element> {
        (!self.xml.is_empty()).then(|| xml::parse(self.xml).expect("XML"))
    }

    pub fn request(&self) -> Request {
        request(self.operation, self.target, self.payload())
    }

    /// As an operator types it; a transaction cannot be typed.
    #[allow(dead_code, reason = "the crate's own tests type nothing")]
    pub fn words(&self) -> Option<Vec<&'a str>> {
        let mut words = vec!["cibadmin"];
        words.extend(match self.operation {
            "query" => ["-Q"].iter(),
            "create" => ["-C"].iter(),
            "modify" => ["-M"].iter(),
            "upsert" => ["-M", "-c"].iter(),
            "score" => ["-M", "--score"].iter(),
            "replace" => ["-R", "--force"].iter(),
            "delete" => ["-D"].iter(),
            "delete-all" => ["-d"].iter(),
            "patch" => ["-P"].iter(),
            "bump" => ["-B"].iter(),
            "erase" => ["-E", "--force"].iter(),
            "upgrade" => ["-u"].iter(),
            _ => return None,
        });
        match self.target {
            "-" => {}
            path if path.starts_with('/') => words.extend(["-A", path]),
            section => words.extend(["-o", section]),
        }
        if !self.xml.is_empty() {
            words.extend(["-X", self.xml]);
        }
        Some(words)
    }
}

fn request(operation: &str, place: &str, payload: Option<Element>) -> Request {
    let op = match operation {
        "upsert" | "score" => Op::Modify,
        "delete-all" => Op::Delete,
        "steps" => Op::Transaction,
        name => Op::from_name(name).unwrap_or_else(|| panic!("operation {name}")),
    };
    if op == Op::Transaction {
        let steps = payload.into_iter().flat_map(|p| p.elements().cloned().collect::<Vec<_>>());
        let word = |step: &Element, name: &str| step.attr(name).unwrap_or_default().to_owned();
        let step = |s: Element| request(&word(&s, "op"), &word(&s, "target"), s.elements().next().cloned());
        return Request::transaction(steps.map(step).collect());
    }
    let target = match place {
        "-" => Target::Whole,
        path if path.starts_with('/') => Target::XPath(path.to_owned()),
        section => Target::Section(section.to_owned()),
    };
    let mut request = Request::new(op, target, payload);
    request.options.allow_create = operation == "upsert";
    request.options.score_update = operation == "score";
    request.options.multiple = operation == "delete-all";
    request.options.force = true;
    request
}

/// Whether a look's XPath selects something, or with `!` nothing.
pub fn looks(document: &Element, look: &str) -> bool {
    let (wanted, path) = look.strip_prefix('!').map_or((true, look), |path| (false, path));
    let found = xml::Path::parse(path).expect("a path").find(document).expect("small");
    wanted != found.is_empty()
}
