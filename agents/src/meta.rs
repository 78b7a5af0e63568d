//! What an agent says of itself, and its document for tools such as pcs and crmsh (OCF Resource Agent API 1.1).

use std::fmt::Write;

/// One native agent.
#[derive(Debug)]
pub struct Meta {
    pub name: &'static str,
    /// Providers of class `ocf` under which configurations know it.
    pub providers: &'static [&'static str],
    pub about: &'static str,
    pub params: &'static [Param],
    /// Action, timeout, interval; in seconds.
    pub actions: &'static [(&'static str, u32, Option<u32>)],
}

#[derive(Debug)]
pub struct Param {
    pub name: &'static str,
    pub kind: &'static str,
    pub default: Option<&'static str>,
    pub required: bool,
    /// No two resources may have the same value.
    pub unique: bool,
    /// A change needs no restart: `reload-agent` takes it.
    pub reloadable: bool,
    /// Not to be shown: a password or the like.
    pub private: bool,
    pub about: &'static str,
}

impl Param {
    pub(crate) const fn new(
        name: &'static str,
        kind: &'static str,
        default: Option<&'static str>,
        about: &'static str,
    ) -> Param {
        Param { name, kind, default, required: false, unique: false, reloadable: false, private: false, about }
    }

    pub(crate) const fn required(self) -> Param {
        Param { required: true, ..self }
    }

    pub(crate) const fn unique(self) -> Param {
        Param { unique: true, ..self }
    }

    pub(crate) const fn reloadable(self) -> Param {
        Param { reloadable: true, ..self }
    }
}

/// Short for the tables in the agents' files.
pub(crate) const fn param(
    name: &'static str,
    kind: &'static str,
    default: Option<&'static str>,
    about: &'static str,
) -> Param {
    Param::new(name, kind, default, about)
}

impl Meta {
    /// Whether it is what `ocf:PROVIDER:AGENT` means.
    pub fn is(&self, provider: &str, agent: &str) -> bool {
        self.name == agent && self.providers.contains(&provider)
    }

    pub fn has_action(&self, action: &str) -> bool {
        self.actions.iter().any(|(name, ..)| *name == action)
    }

    /// The document.
    pub fn xml(&self) -> String {
        let mut out = format!(
            "<?xml version=\"1.0\"?>\n<resource-agent name=\"{}\" version=\"{}\">\n  <version>1.1</version>\n  \
             <longdesc lang=\"en\">{about}</longdesc>\n  <shortdesc lang=\"en\">{about}</shortdesc>\n  <parameters>\n",
            self.name,
            env!("CARGO_PKG_VERSION"),
            about = self.about
        );
        for p in self.params {
            let default = p.default.map(|d| format!(" default=\"{d}\"")).unwrap_or_default();
            let reloadable = if p.reloadable { " reloadable=\"1\"" } else { "" };
            let private = if p.private { " private=\"1\"" } else { "" };
            let _ = write!(
                out,
                "    <parameter name=\"{}\" required=\"{}\" unique=\"{}\"{reloadable}{private}>\n      \
                 <longdesc lang=\"en\">{about}</longdesc>\n      <shortdesc lang=\"en\">{about}</shortdesc>\n      \
                 <content type=\"{}\"{default}/>\n    </parameter>\n",
                p.name,
                u8::from(p.required),
                u8::from(p.unique),
                p.kind,
                about = p.about
            );
        }
        out.push_str("  </parameters>\n  <actions>\n");
        for (name, timeout_s, interval_s) in self.actions {
            let interval = interval_s.map(|s| format!(" interval=\"{s}s\" depth=\"0\"")).unwrap_or_default();
            let _ = writeln!(out, "    <action name=\"{name}\" timeout=\"{timeout_s}s\"{interval}/>");
        }
        out.push_str("  </actions>\n</resource-agent>\n");
        out
    }
}
