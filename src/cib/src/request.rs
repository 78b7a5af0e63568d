//! What can be asked of the CIB, and its form in ordered messages.

use crate::limits::MAX_STEPS;
use crate::{CibError, MAX_ENCODED_BYTES, Version};
use base::WallTime;
use xml::Element;

/// `cibadmin`'s commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Query,
    Create,
    Modify,
    Replace,
    Delete,
    /// The payload is a patchset (`diff`, format 2).
    Patch,
    /// Raises `epoch`.
    Bump,
    /// Back to an empty document, with the next `admin_epoch`.
    Erase,
    /// Sets `validate-with` to the newest schema.
    Upgrade,
    /// All of [`Request::steps`] in their order, or nothing: one commit, one new version.
    Transaction,
}

impl Op {
    const ALL: [(Op, &'static str); 10] = [
        (Op::Query, "query"),
        (Op::Create, "create"),
        (Op::Modify, "modify"),
        (Op::Replace, "replace"),
        (Op::Delete, "delete"),
        (Op::Patch, "patch"),
        (Op::Bump, "bump"),
        (Op::Erase, "erase"),
        (Op::Upgrade, "upgrade"),
        (Op::Transaction, "transaction"),
    ];

    pub fn name(self) -> &'static str {
        Op::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }

    pub fn from_name(name: &str) -> Option<Op> {
        Op::ALL.iter().find(|(_, n)| *n == name).map(|(op, _)| *op)
    }

    /// Whether it can change anything.
    pub fn writes(self) -> bool {
        self != Op::Query
    }
}

/// What a request works on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Target {
    /// The whole document; for changes, the first element that fits the payload.
    #[default]
    Whole,
    Section(String),
    XPath(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Modify: add what is not there.
    pub allow_create: bool,
    /// With an XPath: all matches instead of the first (`--delete-all`).
    pub multiple: bool,
    /// Query: the element without what it contains.
    pub no_children: bool,
    /// Modify: `value++` and `value+=N` count up the value that is there.
    pub score_update: bool,
    /// Replace: also by an older version.
    pub force: bool,
}

/// The version at which a request was thought out: at another one it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    pub admin_epoch: u64,
    pub epoch: u64,
    /// Absent: changes of the status do not matter.
    pub num_updates: Option<u64>,
}

impl Expected {
    /// The configuration as of `version`.
    pub fn configuration(version: Version) -> Expected {
        Expected { admin_epoch: version.admin_epoch, epoch: version.epoch, num_updates: None }
    }

    pub fn holds(self, version: Version) -> bool {
        (self.admin_epoch, self.epoch) == (version.admin_epoch, version.epoch)
            && self.num_updates.is_none_or(|n| n == version.num_updates)
    }

    /// `ADMIN_EPOCH.EPOCH`, or with `.NUM_UPDATES`.
    pub fn parse(text: &str) -> Option<Expected> {
        let mut numbers = text.split('.').map(str::parse::<u64>);
        let (admin_epoch, epoch) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let num_updates = numbers.next().transpose().ok()?;
        numbers.next().is_none().then_some(Expected { admin_epoch, epoch, num_updates })
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.admin_epoch, self.epoch)?;
        self.num_updates.map_or(Ok(()), |n| write!(f, ".{n}"))
    }
}

/// One operation with all that its result depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub op: Op,
    pub target: Target,
    pub payload: Option<Element>,
    pub options: Options,
    /// Of a transaction; a step's own time, origin, expectation and steps do not count.
    pub steps: Vec<Request>,
    pub expected: Option<Expected>,
    /// When it was asked; written to `cib-last-written`.
    pub at: WallTime,
    /// Node, program and user that asked, written to `update-origin`, `update-client`, `update-user` if not empty.
    pub origin: String,
    pub client: String,
    pub user: String,
}

impl Request {
    pub fn new(op: Op, target: Target, payload: Option<Element>) -> Request {
        Request {
            op,
            target,
            payload,
            options: Options::default(),
            steps: Vec::new(),
            expected: None,
            at: WallTime::default(),
            origin: String::new(),
            client: String::new(),
            user: String::new(),
        }
    }

    pub fn query(target: Target) -> Request {
        Request::new(Op::Query, target, None)
    }

    /// Modify in a section, adding what is not there: the form in which programs record state.
    pub fn upsert(section: &str, payload: Element) -> Request {
        let mut request = Request::new(Op::Modify, Target::Section(section.to_owned()), Some(payload));
        request.options.allow_create = true;
        request
    }

    pub fn delete_xpath(expression: &str, multiple: bool) -> Request {
        let mut request = Request::new(Op::Delete, Target::XPath(expression.to_owned()), None);
        request.options.multiple = multiple;
        request
    }

    /// Several changes as one.
    pub fn transaction(steps: Vec<Request>) -> Request {
        Request { steps, ..Request::new(Op::Transaction, Target::Whole, None) }
    }

    /// Whether anything of it writes.
    pub fn writes(&self) -> bool {
        self.op.writes()
    }

    /// The form of ordered messages.
    pub fn encode(&self) -> Vec<u8> {
        self.to_element().to_compact().into_bytes()
    }

    fn to_element(&self) -> Element {
        let mut e = Element::new("cib_request").with("op", self.op.name()).with("at", self.at.0.to_string());
        match &self.target {
            Target::Whole => {}
            Target::Section(name) => e.set("section", name),
            Target::XPath(expression) => e.set("xpath", expression),
        }
        for (name, value) in [("origin", &self.origin), ("client", &self.client), ("user", &self.user)] {
            if !value.is_empty() {
                e.set(name, value);
            }
        }
        for (name, set) in self.options.flags() {
            if set {
                e.set(name, "1");
            }
        }
        if let Some(expected) = self.expected {
            e.set("expected", expected.to_string());
        }
        match &self.payload {
            Some(payload) => e.push(payload.clone()),
            None => self.steps.iter().for_each(|step| e.push(step.to_element())),
        }
        e
    }

    pub fn decode(bytes: &[u8]) -> Result<Request, CibError> {
        if bytes.len() > MAX_ENCODED_BYTES {
            return Err(CibError::TooLarge { bytes: bytes.len(), limit: MAX_ENCODED_BYTES });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| CibError::BadRequest(e.to_string()))?;
        Request::from_element(&xml::parse(text)?, true)
    }

    fn from_element(e: &Element, outermost: bool) -> Result<Request, CibError> {
        if e.name() != "cib_request" {
            return Err(CibError::BadRequest(format!("element '{}' instead of 'cib_request'", e.name())));
        }
        let text_of = |name: &str| e.attr(name).unwrap_or_default().to_owned();
        let flag = |name: &str| e.attr(name) == Some("1");
        let op_name = text_of("op");
        let op =
            Op::from_name(&op_name).ok_or_else(|| CibError::BadRequest(format!("unknown operation '{op_name}'")))?;
        let at = text_of("at");
        let at = at.parse().map_err(|_| CibError::BadRequest(format!("time '{at}' is not a number")))?;
        let target = match (e.attr("section"), e.attr("xpath")) {
            (_, Some(expression)) => Target::XPath(expression.to_owned()),
            (Some(name), None) => Target::Section(name.to_owned()),
            (None, None) => Target::Whole,
        };
        let options = Options {
            allow_create: flag("allow_create"),
            multiple: flag("multiple"),
            no_children: flag("no_children"),
            score_update: flag("score_update"),
            force: flag("force"),
        };
        let (origin, client, user) = (text_of("origin"), text_of("client"), text_of("user"));
        let expected = e.attr("expected").map(|text| {
            Expected::parse(text).ok_or_else(|| CibError::BadRequest(format!("'{text}' is not a version")))
        });
        let expected = expected.transpose()?;
        let (steps, payload) = match op {
            Op::Transaction if !outermost => {
                return Err(CibError::BadRequest("a transaction within a transaction".to_owned()));
            }
            // One more than is allowed, so that it is refused by its own rule.
            Op::Transaction => {
                let steps = e.elements().take(MAX_STEPS + 1).map(|step| Request::from_element(step, false));
                (steps.collect::<Result<_, _>>()?, None)
            }
            _ => (Vec::new(), e.elements().next().cloned()),
        };
        Ok(Request { op, target, payload, options, steps, expected, at: WallTime(at), origin, client, user })
    }
}

impl Options {
    fn flags(&self) -> [(&'static str, bool); 5] {
        [
            ("allow_create", self.allow_create),
            ("multiple", self.multiple),
            ("no_children", self.no_children),
            ("score_update", self.score_update),
            ("force", self.force),
        ]
    }
}
