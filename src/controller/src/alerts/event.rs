//! What alerts tell of, and the variables of each kind.

use crate::api::OpStatus;
use crate::message::OpRecord;
use base::NodeId;
use base::exit::OcfCode;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Node,
    Fencing,
    Resource,
    Attribute,
}

impl Kind {
    /// `CRM_alert_kind`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Node => "node",
            Kind::Fencing => "fencing",
            Kind::Resource => "resource",
            Kind::Attribute => "attribute",
        }
    }
}

/// Something that an alert may be sent for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Node {
        name: String,
        id: NodeId,
        /// It has come; else it is lost.
        member: bool,
    },
    Fencing {
        target: String,
        operation: String,
        /// Who did what for whom, and how it ended.
        description: String,
        /// One of `base::exit::crm`.
        code: i32,
    },
    Resource {
        node: String,
        resource: String,
        task: String,
        interval_ms: u64,
        target_code: i32,
        status: OpStatus,
        code: i32,
        exec_ms: u64,
    },
    /// What a resource runs on with, and no operation has said.
    Trouble {
        node: String,
        resource: String,
        description: String,
    },
    Attribute {
        node: String,
        id: NodeId,
        name: String,
        value: Option<String>,
    },
}

impl Event {
    /// What an operation's end is to alerts: nothing if it is a probe that found what was expected, or no operation of an agent.
    pub fn of_result(record: &OpRecord) -> Option<Event> {
        let id = &record.identity;
        let as_expected = record.status == OpStatus::Done && record.code == id.target_rc;
        let probe = id.operation == "monitor" && id.interval_ms == 0;
        if (probe && as_expected) || matches!(id.operation.as_str(), "cancel" | "delete" | "meta-data") {
            return None;
        }
        Some(Event::Resource {
            node: id.node_name.clone(),
            resource: id.resource.clone(),
            task: id.operation.clone(),
            interval_ms: id.interval_ms,
            target_code: id.target_rc,
            status: record.status,
            code: record.code,
            exec_ms: record.exec_ms,
        })
    }

    pub fn kind(&self) -> Kind {
        match self {
            Event::Node { .. } => Kind::Node,
            Event::Fencing { .. } => Kind::Fencing,
            Event::Resource { .. } | Event::Trouble { .. } => Kind::Resource,
            Event::Attribute { .. } => Kind::Attribute,
        }
    }

    /// The attribute that it is about.
    pub(super) fn attribute(&self) -> Option<&str> {
        match self {
            Event::Attribute { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Variables without their prefix.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Event::Node { name, id, member } => vec![
                ("node", name.clone()),
                ("nodeid", id.to_string()),
                ("desc", if *member { "member" } else { "lost" }.to_owned()),
            ],
            Event::Fencing { target, operation, description, code } => vec![
                ("node", target.clone()),
                ("task", operation.clone()),
                ("desc", description.clone()),
                ("rc", code.to_string()),
            ],
            Event::Resource { node, resource, task, interval_ms, target_code, status, code, exec_ms } => {
                let words = if *status == OpStatus::Done { exit_words(*code) } else { status_words(*status) };
                vec![
                    ("node", node.clone()),
                    ("rsc", resource.clone()),
                    ("task", task.clone()),
                    ("interval", interval_ms.to_string()),
                    ("target_rc", target_code.to_string()),
                    ("status", status.number().to_string()),
                    ("rc", code.to_string()),
                    ("exec_time", exec_ms.to_string()),
                    ("desc", words.to_owned()),
                ]
            }
            // As of a monitor that finds it running and in danger.
            Event::Trouble { node, resource, description } => vec![
                ("node", node.clone()),
                ("rsc", resource.clone()),
                ("task", "monitor".to_owned()),
                ("interval", "0".to_owned()),
                ("target_rc", OcfCode::OK.0.to_string()),
                ("status", OpStatus::Done.number().to_string()),
                ("rc", OcfCode::DEGRADED.0.to_string()),
                ("exec_time", "0".to_owned()),
                ("desc", description.clone()),
            ],
            Event::Attribute { node, id, name, value } => vec![
                ("node", node.clone()),
                ("nodeid", id.to_string()),
                ("attribute_name", name.clone()),
                ("attribute_value", value.clone().unwrap_or_default()),
            ],
        }
    }
}

/// An agent's exit code in Pacemaker's words for exit codes.
pub fn exit_words(code: i32) -> &'static str {
    match OcfCode(code).0 {
        0..=9 => OcfCode(code).title(),
        124 => "Timeout occurred",
        190 => "Service is active but might fail soon",
        191 => "Service is promoted but might fail soon",
        193 => "No exit status available",
        129..=254 => "Interrupted by signal",
        _ => "Unknown exit status",
    }
}

/// The readable form of an operation's status.
pub fn status_words(status: OpStatus) -> &'static str {
    match status {
        OpStatus::Pending => "Pending",
        OpStatus::Done => "Done",
        OpStatus::Cancelled => "Cancelled",
        OpStatus::Timeout => "Timed out",
        OpStatus::NotSupported => "Unsupported",
        OpStatus::Error => "Error",
        OpStatus::NotInstalled => "Not installed",
        OpStatus::NotConnected => "Internal communication failure",
    }
}
