//! `bascule plan`: what each kind of failure costs with this configuration, and how long an address may be on two nodes. Starts
//! nothing.
//!
//! Nothing is measured here: detection comes from the ring's times, everything else from [`Bounds`], so that what is
//! printed is what the programs wait for.

mod cases;
pub(crate) mod setup;

use crate::config::{self, Allow, Timers};
use base::exit::crm;
use base::lease::Bounds;
use cases::{Basis, Case, Span};
use clap::Parser;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Predict what each kind of failure costs: detection, take-over, addresses held twice
#[derive(Parser, Debug)]
#[command(name = "plan", disable_version_flag = true, after_help = EXAMPLES)]
struct Args {
    /// corosync.conf; the same as --config
    #[arg(value_name = "COROSYNC.CONF", conflicts_with = "config")]
    corosync_conf: Option<PathBuf>,
    /// CIB; the same as --xml-file
    #[arg(value_name = "CIB", conflicts_with = "xml_file")]
    cib: Option<PathBuf>,
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
  bascule plan c.conf cib.xml        from files
  bascule plan --takeover safe       what waiting for the leases would cost

A node that falls silent may live. Before another one takes its addresses, their LAN is asked: whoever answers keeps them.
bascule-takeover=fast asks at once; safe first waits until the leases of a node in which nothing runs are over, unless its
death is confirmed. Nodes that leave in good order are neither waited nor asked for.

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
            kernel::output::say(error.render().ansi(), error.render(), error.use_stderr());
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
    let named = args.config.clone().or_else(|| args.corosync_conf.clone());
    let path = named.unwrap_or_else(|| from_env("COROSYNC_MAIN_CONFIG_FILE", "/etc/corosync/corosync.conf"));
    // Whether packets are authenticated changes no time.
    let reading = config::load(&path, Allow { unauthenticated: true });
    let Some(config) = reading.config.as_ref().filter(|_| !reading.refused()) else {
        let findings: Vec<String> = reading.findings.iter().map(ToString::to_string).collect();
        return Err((crm::CONFIG, format!("{}: refused\n{}", path.display(), findings.join("\n"))));
    };
    let timing = crate::node::timing(config, &Timers::of(&config.totem, config.nodes.len()));
    let cib = match args.xml_file.as_ref().or(args.cib.as_ref()) {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|e| (crm::NOINPUT, format!("{}: {e}", file.display())))?;
            Some(parse(&text).map_err(|e| (crm::DATAERR, format!("{}: {e}", file.display())))?)
        }
        // A node that has never run has stored nothing, and the defaults apply.
        None => {
            stored_cib(&from_env("BASCULE_STATE_DIR", wire::api::DEFAULT_STATE_DIR)).map_err(|e| (crm::DATAERR, e))?
        }
    };
    let resources = cib.as_ref().map(|cib| setup::Resources::read(cib.root()));
    let peers = config.nodes.len().saturating_sub(1);
    let (timing, beat) = (timing.with_peers(peers), timing.beat_interval(peers));
    // Right before a heartbeat would have come; and with a host that answers no echo requests, right after one.
    let soonest = timing.grace.unwrap_or(timing.suspect.saturating_sub(beat));
    let form = timing.consensus + timing.commit;
    Ok(Plan {
        takeover: args.takeover.or_else(|| cib.as_ref().map(configured)).unwrap_or(Takeover::Fast),
        warnings: setup::warnings(config, resources.as_ref()),
        reach: (!config.quorum.ping_targets.is_empty()).then_some(crate::reach::NOTICED),
        basis: Basis {
            bounds: Bounds::STANDARD,
            detected: Span { least: soonest, most: timing.suspect + beat + form },
            unready: crate::ring::NOT_READY_AFTER,
            hung: crate::ring::LEAVE_AFTER,
            arbitrated: setup::arbitrated(config),
        },
    })
}

fn parse(text: &str) -> Result<cib::Cib, String> {
    cib::Cib::parse(text).map_err(|e| e.to_string())
}

/// What a node has stored in its state directory, if anything.
pub(crate) fn stored_cib(state_dir: &Path) -> Result<Option<cib::Cib>, String> {
    std::fs::read_to_string(state_dir.join("cib.xml")).ok().map(|text| parse(&text)).transpose()
}

fn configured(cib: &cib::Cib) -> Takeover {
    match cib::config::property(cib.root(), "bascule-takeover") {
        Some("safe") => Takeover::Safe,
        _ => Takeover::Fast,
    }
}

/// One configuration's fail-over.
struct Plan {
    takeover: Takeover,
    warnings: Vec<String>,
    basis: Basis,
    /// From the last answer of a ping target to the end of a half's vote.
    reach: Option<Duration>,
}

impl Plan {
    /// What the survivors wait between the view without a node and the first question to the LAN.
    fn wait(&self, takeover: Takeover) -> Duration {
        match takeover {
            Takeover::Fast => Duration::ZERO,
            Takeover::Safe => self.basis.bounds.hold(),
        }
    }

    fn text(&self) -> String {
        let ms = |d: Duration| format!("{} ms", d.as_millis());
        let (b, detected) = (&self.basis.bounds, self.basis.detected);
        let lines = [
            ("bascule-takeover", self.takeover.name().to_owned()),
            (
                "a silent node counts as lost",
                format!("{} to {} after its last packet", ms(detected.least), ms(detected.most)),
            ),
            ("its addresses are asked for", String::new()),
            ("  takeover=fast", "at once".to_owned()),
            ("  takeover=safe", format!("{} later; at once if its death is confirmed", ms(b.hold()))),
            (
                "and start elsewhere",
                format!("{} after the question, if nobody on their LAN answers (all at once)", ms(b.asked())),
            ),
            (
                "  if somebody answers",
                format!(
                    "asked again every {}; the start fails after {} and comes back by itself",
                    ms(b.noticed()),
                    ms(b.contest())
                ),
            ),
            ("a node that cannot answer gives up", String::new()),
            ("  daemon ended or stopped", format!("within {} (guard)", ms(b.stopped()))),
            ("  daemon hangs", format!("within {} (guard)", ms(b.hung()))),
            ("  ring gone", format!("within {} (lease)", ms(b.possession()))),
            ("  core hangs", format!("within {} (lease)", ms(self.basis.unready + b.possession()))),
            ("  nothing runs", format!("within {} (kernel)", ms(b.possession()))),
            (
                "a half that reaches no ping target",
                self.reach.map_or("(none are set)".to_owned(), |t| format!("has no vote after {}", ms(t))),
            ),
            ("two holders that meet are one", format!("within {}", ms(b.meeting()))),
            (
                "lease",
                format!(
                    "{}, renewed every {}, permitted for {}, taken away up to {} late",
                    ms(b.lifetime),
                    ms(b.renew),
                    ms(b.permit),
                    ms(b.expiry)
                ),
            ),
        ];
        let mut text: String =
            lines.iter().map(|(name, value)| format!("{name:<36}{value}").trim_end().to_owned() + "\n").collect();
        text.push_str("\nWhat happens when (waits alone; agents and machine come on top):\n\n");
        self.basis.cases().iter().for_each(|case| text.push_str(&case.text()));
        for warning in &self.warnings {
            text.push_str(&format!("\nwarning: {warning}"));
        }
        text.trim_end().to_owned() + "\n"
    }

    fn json(&self) -> Value {
        let ms = |d: Duration| d.as_millis() as u64;
        let (b, detected) = (&self.basis.bounds, self.basis.detected);
        let wait = |t| ms(self.wait(t));
        json!({
            "takeover": self.takeover.name(),
            "detection_ms": { "least": ms(detected.least), "most": ms(detected.most) },
            "wait_ms": { "fast": wait(Takeover::Fast), "safe": wait(Takeover::Safe) },
            "lan_ms": { "asked": ms(b.asked()), "noticed": ms(b.noticed()), "contest": ms(b.contest()), "meeting": ms(b.meeting()) },
            "gives_up_ms": {
                "daemon_stopped": ms(b.stopped()),
                "daemon_hangs": ms(b.hung()),
                "core_hangs": ms(self.basis.unready + b.possession()),
                "nothing_runs": ms(b.possession()),
            },
            "lease_ms": {
                "lifetime": ms(b.lifetime),
                "renew": ms(b.renew),
                "permit": ms(b.permit),
                "expiry": ms(b.expiry),
            },
            "reach_ms": self.reach.map(ms),
            "carrier_ms": { "settle": ms(b.settle), "settle_most": ms(b.settle_most), "calm": ms(b.calm) },
            "cases": self.basis.cases().iter().map(Case::json).collect::<Vec<Value>>(),
            "warnings": self.warnings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(conf: &str, more: &[&str]) -> Result<Plan, Refused> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("corosync.conf");
        let nodes = "nodelist {\n node {\n ring0_addr: 192.0.2.1\n nodeid: 1\n name: a\n }\n node {\n ring0_addr: 192.0.2.2\n nodeid: 2\n name: b\n }\n}\nquorum {\n provider: corosync_votequorum\n two_node: 1\n}\n";
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
        assert_eq!(fast["detection_ms"]["least"], 50, "right before a heartbeat, and three questions to its host");
        let haste = plan(" dead_after: 36\n", &["--takeover", "fast"]).unwrap().json();
        assert_eq!(haste["detection_ms"]["least"], 15);
        let both = plan(" dead_after: 36\n token: 4000\n", &[]).err().unwrap();
        assert!(both.0 == crm::CONFIG && both.1.contains("contradict each other"), "{}", both.1);
        let hold = Bounds::STANDARD.hold().as_millis() as u64;
        assert_eq!((&fast["wait_ms"]["fast"], &fast["wait_ms"]["safe"]), (&json!(0), &json!(hold)));
        assert_eq!(fast["lan_ms"]["asked"], 20);
        let case = |key: &str| fast["cases"].as_array().unwrap().iter().find(|c| c["case"] == key).unwrap().clone();
        assert_eq!(case("ring")["outage_ms"]["safe"]["most"], 0);
        assert_eq!(case("daemon")["twice_ms"]["fast"], 0);
        assert_eq!(case("service_lan")["outage_ms"]["fast"], Value::Null);
        let patient = plan(" token: 4000\n", &["--takeover", "safe"]).unwrap();
        assert_eq!(patient.json()["detection_ms"]["least"], 3930);
        let text = patient.text();
        assert!(text.contains("bascule-takeover                    safe\n") && text.contains("3930 ms to "), "{text}");
    }

    #[test]
    fn set_ups_that_cannot_tell_a_cut_from_a_death_are_warned_of() {
        let plan = plan("", &["-x", "CIB"]).unwrap();
        assert!(plan.text().contains("\nwarning: two nodes without arbitrator"), "{}", plan.text());
        let warnings = plan.warnings.join("\n");
        for word in ["arbitrator", "no fence device", "no leased address"] {
            assert!(warnings.contains(word), "{word}: {warnings}");
        }
    }

    #[test]
    fn the_cib_tells_how_addresses_are_taken_over() {
        assert_eq!(plan("", &["-x", "CIB"]).unwrap().takeover, Takeover::Safe);
        assert_eq!(plan("", &["-x", "CIB", "--takeover", "fast"]).unwrap().takeover, Takeover::Fast);
        assert_eq!(plan("", &["-x", "/nosuch"]).err().map(|(code, _)| code), Some(crm::NOINPUT));
        assert_eq!(plan(" transport: sctp\n", &[]).err().map(|(code, _)| code), Some(crm::CONFIG));
    }
}
