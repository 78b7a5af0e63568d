//! What happens in the demo, and what is expected of each event.

use super::api;
use super::client::Client;
use super::cluster::{Cluster, Cut, DIRECTORS, GROUP, WEBS, wait_for};
use super::report::{Event, Kind, Moment, moments};
use super::ui::Ui;
use crate::hosts::LabError;
use crate::probe::monotonic_us;
use std::time::Duration;

/// Everything must be as it should within this, also on a machine that is busy compiling.
const PATIENCE: Duration = Duration::from_secs(60);
/// Without a failed request for this long, an event counts as over.
const CALM_MS: u64 = 700;
/// How long nothing is done, for comparison.
const QUIET: Duration = Duration::from_secs(2);

/// Drives cluster and client through the events and collects what was seen.
pub struct Play<'a> {
    pub cluster: &'a mut Cluster,
    pub client: &'a Client,
    pub ui: &'a Ui,
    pub events: &'a mut Vec<Event>,
    pub timeline: &'a mut Vec<Moment>,
}

impl Play<'_> {
    /// Web server, then `repeat` times move, loss and rejoin.
    pub async fn all(&mut self, repeat: u32, web: bool) -> Result<(), LabError> {
        if web {
            self.quiet().await?;
            self.web_fails_and_returns().await?;
        }
        for _ in 0..repeat {
            self.planned_move().await?;
            self.loss_and_rejoin().await?;
        }
        Ok(())
    }

    async fn quiet(&mut self) -> Result<(), LabError> {
        let (from, before) = self.begin().await?;
        tokio::time::sleep(QUIET).await;
        self.end(Kind::Quiet, from, before).await
    }

    async fn web_fails_and_returns(&mut self) -> Result<(), LabError> {
        let victim = WEBS[1];
        self.ui.say(format!("{victim} dies: connections are refused, those under way break"));
        let (from, before) = self.begin().await?;
        self.cluster.tell_web(victim, "stop").await?;
        let client = self.client;
        wait_for(&format!("requests no longer go to the dead {victim}"), PATIENCE, async || {
            // Calm alone could be the moment before the first failure: the web server must also have lost requests
            // or answered none for a while.
            let lately = client.servers_since(monotonic_us().saturating_sub(CALM_MS * 1_000));
            (client.calm(CALM_MS) && !lately.contains_key(victim)).then_some(())
        })
        .await?;
        self.end(Kind::WebFails, from, before).await?;

        self.ui.say(format!("{victim} comes back"));
        let (from, before) = self.begin().await?;
        self.cluster.tell_web(victim, "ok").await?;
        wait_for(&format!("{victim} answers again"), PATIENCE, async || {
            client.servers_since(from).contains_key(victim).then_some(())
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(CALM_MS)).await;
        self.end(Kind::WebReturns, from, before).await
    }

    async fn planned_move(&mut self) -> Result<(), LabError> {
        let (_, active) = self.begin().await?;
        let to = other(&active);
        self.ui.say(format!("crm_resource --move --resource {GROUP} --node {to}"));
        let commands = self.cluster.commands(&active);
        let (from, before) = self.begin().await?;
        commands.run(&["crm_resource", "--move", "--resource", GROUP, "--node", to]).await?;
        self.wait_active(to).await?;
        self.end(Kind::Move, from, before).await?;
        commands.run(&["crm_resource", "--clear", "--resource", GROUP]).await.map(drop)
    }

    async fn loss_and_rejoin(&mut self) -> Result<(), LabError> {
        let (from, before) = self.begin().await?;
        let survivor = other(&before);
        self.ui.say(format!("{before} is active: its cable is pulled, then all its processes are killed"));
        let cut = self.cluster.power_off(&before).await?;
        self.wait_active(survivor).await?;
        self.end(Kind::Loss, from, before.clone()).await?;
        if self.timeline.is_empty() {
            *self.timeline = self.timeline_of(survivor, cut).await?;
        }
        self.ui.say(format!("{before} gets its cable and its processes back"));
        let (from, active) = self.begin().await?;
        self.cluster.power_on(&before).await?;
        let cluster = &mut *self.cluster;
        wait_for(&format!("{before} is a member again"), PATIENCE, async || {
            let status = cluster.status(&before).await.ok()?;
            (status["members"].as_array()?.len() == DIRECTORS.len() && status["dc"].is_number()).then_some(())
        })
        .await?;
        // Long enough for a group that wrongly moves back to be seen.
        tokio::time::sleep(QUIET).await;
        self.cluster.check_nodes()?;
        if self.cluster.active().await.as_deref() != Some(survivor) {
            return Err(LabError::Expectation(format!("{before} came back and the group did not stay on {survivor}")));
        }
        self.end(Kind::Rejoin, from, active).await
    }

    /// Start of an event: now, and who is active.
    async fn begin(&mut self) -> Result<(u64, String), LabError> {
        let cluster = &*self.cluster;
        let active = wait_for("one director holds every address", PATIENCE, async || cluster.active().await).await?;
        Ok((monotonic_us(), active))
    }

    async fn wait_active(&mut self, name: &str) -> Result<(), LabError> {
        let (cluster, client) = (&*self.cluster, self.client);
        wait_for(&format!("{name} holds every address"), PATIENCE, async || {
            cluster.holds_all(name).await.then_some(())
        })
        .await?;
        // The calm before counts for nothing: what the event broke may show only now.
        tokio::time::sleep(Duration::from_millis(CALM_MS)).await;
        wait_for(&format!("{name} serves and no request fails"), PATIENCE, async || client.calm(CALM_MS).then_some(()))
            .await
    }

    async fn end(&mut self, kind: Kind, from_us: u64, active_before: String) -> Result<(), LabError> {
        let to_us = monotonic_us();
        self.client.settle().await;
        let (_, active_after) = self.begin().await?;
        let seen = self.client.judge(from_us, to_us);
        self.ui.say(format!(
            "  {}: outage {:.1} ms, {} of {} requests lost",
            kind.title(),
            seen.outage_us as f64 / 1_000.0,
            seen.lost,
            seen.sent
        ));
        let settled_ms = (to_us - from_us) / 1_000;
        self.events.push(Event { kind, active_before, active_after, settled_ms, seen });
        Ok(())
    }

    /// Demo's, survivor's and client's moments on one axis.
    async fn timeline_of(&self, survivor: &str, cut: Cut) -> Result<Vec<Moment>, LabError> {
        let timeline = api::get(&self.cluster.run_dir(survivor), "/v1/timeline").await?;
        let recovered = self.client.recovered_us(cut.monotonic_us, monotonic_us());
        let last_ms = recovered.iter().flatten().map(|us| us - cut.monotonic_us).max().unwrap_or(0) as f64 / 1_000.0;
        let mut all = moments(&timeline, cut.wall_us, last_ms.max(200.0) + 300.0);
        all.push(Moment { at_ms: 0.0, by: "demo".into(), text: "cable pulled".into() });
        for (recovered, vip) in recovered.into_iter().zip(super::cluster::vips()) {
            if let Some(us) = recovered {
                let at_ms = (us - cut.monotonic_us) as f64 / 1_000.0;
                all.push(Moment { at_ms, by: "client".into(), text: format!("first answer from {vip}") });
            }
        }
        all.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        Ok(all)
    }
}

fn other(name: &str) -> &'static str {
    if name == DIRECTORS[0] { DIRECTORS[1] } else { DIRECTORS[0] }
}
