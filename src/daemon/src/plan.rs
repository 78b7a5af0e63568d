//! `bascule plan`: what a fail-over of this configuration takes, and how long an address may be on two nodes. Starts nothing.
//!
//! Nothing is measured here: detection comes from the ring's times, everything else from [`Bounds`], so that what is
//! printed is what the programs wait for.

use crate::config::{self, Allow, Timers};
use base::exit::crm;
use base::lease::Bounds;
use clap::Parser;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Predict the fail-over of a configuration: detection, take-over, longest overlap
#[derive(Parser, Debug)]
#[command(name = "plan", disable_version_flag = true, after_help = EXAMPLES)]
struct Args {
    /// corosync.conf
    ///
    /// [default: $COROSYNC_MAIN_CONFIG_FILE or /etc/corosync/corosync.conf]
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// CIB whose bascule-takeover counts; else the one that this node has stored, if any
    #[arg(long, short = 'x', value_name = "FILE")]
    xml_file: Option<PathBuf>,
    /// Assume this value of bascule-takeover, whatever the CIB says
    #[arg(long, value_enum, value_name = "HOW")]
    takeover: Option<Takeover>,
    /// As JSON; all times in ms
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  bascule plan                       this node's configuration
  bascule plan -c c.conf -x cib.xml  from files
  bascule plan --takeover safe       what waiting for the leases would cost

bascule-takeover=fast starts a lost node's addresses at once; if that node lives and nothing in it runs, they are on
both for a bounded time. safe waits until that time is over, unless the node's death is confirmed by fencing. Nodes that
leave in good order are never waited for.

Exit codes: 0 predicted; 64 usage; 65 not a CIB; 66 no such file; 78 the configuration is refused";

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Takeover {
    Fast,
    Safe,
}

impl Takeover {
    const fn name(self) -> &'static str {
        match self {
            Takeover::Fast => "fast",
            Takeover::Safe => "safe",
        }
    }
}

/// Entry point of the applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let args = match Args::try_parse_from(std::iter::once(OsString::from("plan")).chain(args)) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { crm::USAGE } else { crm::OK };
        }
    };
    match predict(&args) {
        Ok(plan) if args.json => kernel::outln!("{:#}", plan.json()),
        Ok(plan) => kernel::output::put(plan.text()),
        Err((code, message)) => {
            kernel::errln!("plan: {message}");
            return code;
        }
    }
    crm::OK
}

type Refused = (i32, String);

fn predict(args: &Args) -> Result<Plan, Refused> {
    let from_env = |name: &str, default: &str| std::env::var_os(name).map_or_else(|| default.into(), PathBuf::from);
    let path =
        args.config.clone().unwrap_or_else(|| from_env("COROSYNC_MAIN_CONFIG_FILE", "/etc/corosync/corosync.conf"));
    // Whether packets are authenticated changes no time.
    let reading = config::load(&path, Allow { unauthenticated: true });
    let Some(config) = reading.config.as_ref().filter(|_| !reading.refused()) else {
        let findings: Vec<String> = reading.findings.iter().map(ToString::to_string).collect();
        return Err((crm::CONFIG, format!("{}: refused\n{}", path.display(), findings.join("\n"))));
    };
    let timing = crate::node::timing(config, &Timers::of(&config.totem, config.nodes.len()));
    let takeover = match (args.takeover, &args.xml_file) {
        (Some(takeover), _) => takeover,
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|e| (crm::NOINPUT, format!("{}: {e}", file.display())))?;
            configured(&text).map_err(|e| (crm::DATAERR, format!("{}: {e}", file.display())))?
        }
        (None, None) => {
            let dir = from_env("BASCULE_STATE_DIR", wire::api::DEFAULT_STATE_DIR);
            // A node that has never run has stored nothing, and the default applies.
            let stored = std::fs::read_to_string(dir.join("cib.xml")).ok();
            stored.map_or(Ok(Takeover::Fast), |text| configured(&text)).map_err(|e| (crm::DATAERR, e))?
        }
    };
    Ok(Plan {
        bounds: Bounds::STANDARD,
        suspect: timing.suspect,
        heartbeat: timing.heartbeat,
        form: timing.consensus + timing.commit,
        takeover,
    })
}

fn configured(text: &str) -> Result<Takeover, String> {
    let cib = cib::Cib::parse(text).map_err(|e| e.to_string())?;
    let value = cib::config::property(cib.root(), "bascule-takeover");
    Ok(if value == Some("safe") { Takeover::Safe } else { Takeover::Fast })
}

/// One configuration's fail-over.
struct Plan {
    bounds: Bounds,
    suspect: Duration,
    heartbeat: Duration,
    /// Longest time from the suspicion to a ring without the lost node.
    form: Duration,
    takeover: Takeover,
}

impl Plan {
    /// From a node's death to the moment at which the survivors count it as lost: shortest, longest.
    fn detected(&self) -> (Duration, Duration) {
        (self.suspect.saturating_sub(self.heartbeat), self.suspect + self.heartbeat + self.form)
    }

    /// What the survivors wait between the view without it and the start of its addresses.
    fn wait(&self, takeover: Takeover) -> Duration {
        match takeover {
            Takeover::Fast => Duration::ZERO,
            Takeover::Safe => self.bounds.hold(),
        }
    }

    /// Longest time that an address may be on two nodes of which one lives on and cannot be heard.
    fn overlap(&self, takeover: Takeover) -> Duration {
        self.bounds.overlap().saturating_sub(self.wait(takeover))
    }

    fn text(&self) -> String {
        let ms = |d: Duration| format!("{} ms", d.as_millis());
        let (least, most) = self.detected();
        let b = &self.bounds;
        let safe = self.wait(Takeover::Safe);
        let lines = [
            ("bascule-takeover".to_owned(), self.takeover.name().to_owned()),
            ("a dead node counts as lost".to_owned(), format!("{} to {} after its last packet", ms(least), ms(most))),
            ("its addresses start elsewhere".to_owned(), String::new()),
            ("  takeover=fast".to_owned(), "at once".to_owned()),
            (
                "  takeover=safe".to_owned(),
                format!("{} later; at once if its death is confirmed, or if it left", ms(safe)),
            ),
            ("an address is on two nodes at most".to_owned(), String::new()),
            (
                "  takeover=fast".to_owned(),
                format!("{}, if nothing in the lost node runs", ms(self.overlap(Takeover::Fast))),
            ),
            ("  takeover=safe".to_owned(), ms(self.overlap(Takeover::Safe))),
            ("a node that cannot answer gives up".to_owned(), String::new()),
            ("  daemon ended or stopped".to_owned(), format!("within {} (guard)", ms(b.stopped()))),
            ("  daemon hangs".to_owned(), format!("within {} (guard)", ms(b.hung()))),
            ("  ring or controller gone".to_owned(), format!("within {} (lease)", ms(b.possession()))),
            ("  nothing runs".to_owned(), format!("within {} (kernel)", ms(b.possession()))),
            (
                "lease".to_owned(),
                format!(
                    "{}, renewed every {}, permitted for {}, taken away up to {} late",
                    ms(b.lifetime),
                    ms(b.renew),
                    ms(b.permit),
                    ms(b.expiry)
                ),
            ),
        ];
        lines.iter().map(|(name, value)| format!("{name:<36}{value}").trim_end().to_owned() + "\n").collect()
    }

    fn json(&self) -> Value {
        let ms = |d: Duration| d.as_millis() as u64;
        let (least, most) = self.detected();
        let b = &self.bounds;
        let both = |of: &dyn Fn(Takeover) -> Duration| json!({ "fast": ms(of(Takeover::Fast)), "safe": ms(of(Takeover::Safe)) });
        json!({
            "takeover": self.takeover.name(),
            "detection_ms": { "least": ms(least), "most": ms(most) },
            "wait_ms": both(&|t| self.wait(t)),
            "overlap_ms": both(&|t| self.overlap(t)),
            "gives_up_ms": {
                "daemon_stopped": ms(b.stopped()),
                "daemon_hangs": ms(b.hung()),
                "nothing_runs": ms(b.possession()),
            },
            "lease_ms": {
                "lifetime": ms(b.lifetime),
                "renew": ms(b.renew),
                "permit": ms(b.permit),
                "expiry": ms(b.expiry),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(conf: &str, more: &[&str]) -> Result<Plan, Refused> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("corosync.conf");
        let nodes = "nodelist {\n node {\n ring0_addr: 192.0.2.1\n nodeid: 1\n name: a\n }\n node {\n ring0_addr: 192.0.2.2\n nodeid: 2\n name: b\n }\n}\n";
        std::fs::write(&file, format!("totem {{\n version: 2\n cluster_name: t\n{conf}}}\n{nodes}")).unwrap();
        let cib = dir.path().join("cib.xml");
        std::fs::write(
            &cib,
            "<cib><configuration><crm_config><cluster_property_set id=\"o\"><nvpair id=\"t\" name=\"bascule-takeover\" \
             value=\"safe\"/></cluster_property_set></crm_config><nodes/><resources/><constraints/></configuration><status/></cib>",
        )
        .unwrap();
        let mut words = vec!["plan".into(), "-c".into(), file.into_os_string()];
        words.extend(more.iter().map(|w| if *w == "CIB" { cib.clone().into_os_string() } else { (*w).into() }));
        predict(&Args::try_parse_from(words).unwrap())
    }

    #[test]
    fn detection_is_the_rings_and_waits_are_the_leases() {
        let fast = plan("", &["--takeover", "fast"]).unwrap().json();
        assert_eq!(fast["detection_ms"]["least"], 150);
        assert_eq!((&fast["wait_ms"]["fast"], &fast["overlap_ms"]["safe"]), (&json!(0), &json!(0)));
        let hold = Bounds::STANDARD.hold().as_millis() as u64;
        assert_eq!((&fast["wait_ms"]["safe"], &fast["overlap_ms"]["fast"]), (&json!(hold), &json!(hold)));
        let patient = plan(" token: 4000\n", &["--takeover", "safe"]).unwrap();
        assert_eq!(patient.json()["detection_ms"]["least"], 3950);
        let text = patient.text();
        assert!(text.contains("bascule-takeover                    safe\n") && text.contains("3950 ms to "), "{text}");
    }

    #[test]
    fn the_cib_tells_how_addresses_are_taken_over() {
        assert_eq!(plan("", &["-x", "CIB"]).unwrap().takeover, Takeover::Safe);
        assert_eq!(plan("", &["-x", "CIB", "--takeover", "fast"]).unwrap().takeover, Takeover::Fast);
        assert_eq!(plan("", &["-x", "/nosuch"]).err().map(|(code, _)| code), Some(crm::NOINPUT));
        assert_eq!(plan(" transport: sctp\n", &[]).err().map(|(code, _)| code), Some(crm::CONFIG));
    }
}
