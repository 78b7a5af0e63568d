//! `bascule demo`: a director group in front of real web servers, on this machine, and what its client sees when things
//! break.
//!
//! ```text
//!   client ──┐                        ┌── web1
//!            ├── switch (bridge) ─────┼── web2      every host is a namespace; the nodes are this same binary
//!   director1, director2 ─────────────┴── web3
//! ```

mod api;
mod client;
mod cluster;
mod events;
mod report;
mod ui;

pub use cluster::DataPlane;
pub use report::{Event, Kind, Moment, Report, Spread};

use crate::hosts::{LabError, own_program};
use clap::Parser;
use client::Client;
use cluster::{CLIENT, Cluster, DIRECTORS, WEBS, targets, vips, wait_for};
use events::Play;
use kernel::links::Links;
use std::ffi::OsString;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use ui::Ui;

/// The cluster must be up within this, also on a machine that is busy compiling.
const START_WITHIN: Duration = Duration::from_secs(60);
const STATUS_EVERY: Duration = Duration::from_millis(250);

#[derive(Parser)]
#[command(
    name = "demo",
    about = "See it work: two directors, three web servers and a client on this machine",
    long_about = "Builds two directors, three web servers and a client from network namespaces of this machine, starts \
                  the cluster, and lets things break: a web server, a planned move, the active director. Ends with the \
                  outage that the client saw for each event. Needs root; changes nothing on the host, and cleans up.",
    after_help = "Examples:\n  bascule demo\n  bascule demo --keep            leave the lab up afterwards, with hints for playing\n  \
                  bascule demo --repeat 10 --json > results.json"
)]
struct Args {
    /// Leave the lab up afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Only build the lab and start the cluster (with --keep: to play)
    #[arg(long)]
    no_events: bool,
    /// How often the move and the loss are done; more than once leaves the web server's failure out
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Print results as JSON on standard output; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// One probe every so many milliseconds to each address
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    interval_ms: u64,
    /// Clients that keep one longer request under way each
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=1000))]
    workers: u32,
    /// What balances connections [default: kernel IPVS if there is any, else the relay]
    #[arg(long, value_enum)]
    data_plane: Option<DataPlane>,
}

/// Entry point of the applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let args = match Args::try_parse_from(std::iter::once("demo".into()).chain(args)) {
        Ok(args) => args,
        Err(e) => {
            kernel::output::say(e.render().ansi(), e.render(), e.use_stderr());
            return e.exit_code();
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() else {
        kernel::errln!("bascule demo: cannot start a runtime");
        return base::exit::crm::ERROR;
    };
    let ui = Ui::new(args.json);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut report = Report { version, interval_ms: args.interval_ms, ..Report::default() };
    let ended = runtime.block_on(async {
        tokio::select! {
            // With --keep, an interrupt is how it ends well: so the play is asked first.
            biased;
            done = play(&args, &ui, &mut report) => done,
            name = interrupted() => Err(LabError::Expectation(format!("ended by {name}"))),
        }
    });
    ui.done();
    report.ok = ended.is_ok();
    report.problem = ended.as_ref().err().map(LabError::to_string);
    if args.json {
        kernel::outln!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
    } else if !args.keep || ended.is_err() {
        kernel::output::put(report.text());
    }
    match ended {
        Ok(()) => 0,
        Err(e) => {
            kernel::errln!("bascule demo: {e}");
            if matches!(e, LabError::NotRoot) { base::exit::crm::INSUFFICIENT_PRIV } else { base::exit::crm::ERROR }
        }
    }
}

async fn interrupted() -> &'static str {
    let wait = async |kind: SignalKind| match signal(kind) {
        Ok(mut stream) => {
            stream.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => "Ctrl-C",
        () = wait(SignalKind::terminate()) => "SIGTERM",
        () = wait(SignalKind::hangup()) => "SIGHUP",
    }
}

async fn play(args: &Args, ui: &Ui, report: &mut Report) -> Result<(), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let dir = tempfile::Builder::new().prefix("bascule-demo-").tempdir().map_err(LabError::io("make a directory"))?;
    ui.say("building the lab: a switch, two directors, three web servers, a client");
    let mut cluster = Cluster::build(&own_program()?, dir.path(), args.data_plane).await?;
    report.data_plane = cluster.data_plane.name().to_owned();
    ui.say(match cluster.data_plane {
        DataPlane::Kernel => "data plane: the kernel's IPVS, direct routing",
        DataPlane::Relay => "data plane: the embedded user-space relay (this kernel has no IPVS, or it was asked for)",
    });
    let ended = scenes(args, ui, report, &mut cluster).await;
    if ended.is_err() {
        ui.say(format!("the directors' last words:\n{}", cluster.log_tails(25)));
    }
    ended
}

async fn scenes(args: &Args, ui: &Ui, report: &mut Report, cluster: &mut Cluster) -> Result<(), LabError> {
    start(ui, cluster).await?;
    let client = Client::start(cluster, CLIENT, &targets(), args.interval_ms, args.workers)?;
    wait_for("both addresses answer the client", START_WITHIN, async || client.calm(300).then_some(())).await?;
    ui.say(format!("both addresses answer; {}", cluster.holders().await));
    let ticker = Ticker::new(cluster)?;
    tokio::select! {
        never = ticker.run(ui, &client) => match never {},
        done = async {
            if !args.no_events {
                let Report { events, timeline, .. } = report;
                Play { cluster, client: &client, ui, events, timeline }.all(args.repeat, args.repeat == 1).await?;
            }
            ui.say(format!("in the end {}", cluster.holders().await));
            if args.keep {
                ui.say(report.text());
                ui.say(hints(cluster)?);
                let name = interrupted().await;
                ui.say(format!("{name}: taking the lab down"));
            }
            Ok(())
        } => done,
    }
}

async fn start(ui: &Ui, cluster: &mut Cluster) -> Result<(), LabError> {
    for name in DIRECTORS {
        cluster.start_node(name)?;
    }
    ui.say("nodes started; waiting for them to find each other");
    for name in DIRECTORS {
        wait_for(&format!("{name} sees both nodes"), START_WITHIN, async || {
            cluster.check_nodes().ok()?;
            let status = cluster.status(name).await.ok()?;
            (status["members"].as_array()?.len() == DIRECTORS.len()).then_some(())
        })
        .await?;
    }
    ui.say("both nodes are members; loading the configuration (configs/demo/cib.xml)");
    let mut refusal = None;
    let loaded = wait_for("the configuration is accepted", START_WITHIN, async || match cluster.load_cib().await {
        Ok(()) => Some(()),
        Err(e) => {
            refusal = Some(e);
            None
        }
    });
    if let Err(late) = loaded.await {
        return Err(refusal.unwrap_or(late));
    }
    wait_for("one director holds both addresses", START_WITHIN, async || cluster.active().await).await.map(drop)
}

/// Keeps the status line alive, with eyes of its own on the directors' addresses.
struct Ticker {
    directors: Vec<(&'static str, Links)>,
}

enum Never {}

impl Ticker {
    fn new(cluster: &Cluster) -> Result<Ticker, LabError> {
        let open = |name: &'static str| Ok((name, Links::open_in(&cluster.lab.host(name)?.ns)?));
        Ok(Ticker { directors: DIRECTORS.into_iter().map(open).collect::<Result<_, LabError>>()? })
    }

    async fn run(&self, ui: &Ui, client: &Client) -> Never {
        loop {
            let mut holders = Vec::new();
            for (name, links) in &self.directors {
                let held = links.addresses().await.unwrap_or_default();
                let count = vips().iter().filter(|v| held.iter().any(|a| a.addr == **v)).count();
                if count > 0 {
                    holders.push(format!("{name} ({count} of {})", vips().len()));
                }
            }
            let holders = if holders.is_empty() { "nobody".to_owned() } else { holders.join(" and ") };
            ui.status(format!("addresses: {holders} | {}", client.line()));
            tokio::time::sleep(STATUS_EVERY).await;
        }
    }
}

fn hints(cluster: &Cluster) -> Result<String, LabError> {
    let program = cluster.program.display();
    let run = |name: &str| cluster.run_dir(name).display().to_string();
    let pid = |name: &str| cluster.lab.host(name).map(|h| h.ns.init_pid());
    let [vip, _] = vips();
    Ok(format!(
        "the lab is up until Ctrl-C. In another terminal, as root:\n\
         \n  export BASCULE_RUN_DIR={run_dir}\n  {program} crm_mon -1\n  {program} corosync-quorumtool -s\
{table}\
         \n  {program} crm_standby --node director1 --update on\
         \n  nsenter -t {client} -n curl -s http://{vip}/            ask as the client\
         \n  nsenter -t {director} -a ip address                     look at director1\
         \n  nsenter -t {switch} -n ip link set director1 down       pull its cable\
         \n  nsenter -t {web} -a sh -c 'kill -9 -1'                  kill {web_name}\
         \n  tail -f {logs}/*.log\n",
        run_dir = run(DIRECTORS[0]),
        table = match cluster.data_plane {
            DataPlane::Kernel => format!("\n  nsenter -t {} -n {program} ipvsadm -Ln", pid(DIRECTORS[0])?),
            DataPlane::Relay => format!("\n  {program} ipvsadm --table $BASCULE_RUN_DIR/relay.json -Ln"),
        },
        client = pid(CLIENT)?,
        director = pid(DIRECTORS[0])?,
        switch = cluster.lab.switch_pid(),
        web = pid(WEBS[0])?,
        web_name = WEBS[0],
        logs = cluster.dir.display(),
    ))
}
