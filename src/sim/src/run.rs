//! One run: a plan is lived through, healed, and judged.

use crate::book::Violation;
use crate::plan::Plan;
use crate::properties::{leftovers, liveness, replicas, safe_changes, status};
use crate::story::Story;
use crate::world::World;
use base::Time;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use xml::Element;

/// The longest interval of a monitor, and some.
const MONITORS_MS: u64 = 11_000;
/// Holders of addresses are compared that often.
const WATCH_MS: u64 = 50;

/// What came of a run in which everything held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Simulated time, added up over all nodes.
    pub node_time: Duration,
    pub events: u64,
    pub schedules: u64,
    pub views: u64,
    pub fencings: u64,
    /// From the end of all trouble to a cluster at rest.
    pub settled: Duration,
    pub longest_double: Duration,
    /// Until an address that was lost with its node was taken by another one.
    pub longest_takeover: Duration,
}

/// What is looked at in a world at rest.
type Check = fn(&World) -> Result<(), String>;

const AT_REST: [(&str, Check); 4] = [
    ("replicas", replicas::check),
    ("safe_changes", safe_changes::check),
    ("status", status::check),
    ("leftovers", leftovers::check),
];

pub fn run(plan: &Plan) -> Result<Report, Violation> {
    deep(|| live(plan, Story::default()).1)
}

/// The same, told.
pub fn tell(plan: &Plan) -> (Vec<String>, Result<Report, Violation>) {
    deep(|| {
        let (world, result) = live(plan, Story::wanted());
        (world.book.story.lines().collect(), result)
    })
}

/// On one thread with a deep stack, instead of one for every run of a scheduler.
fn deep<T: Send>(life: impl FnOnce() -> T + Send) -> T {
    scheduler::with_deep_stack(life).unwrap_or_else(|e| unreachable!("what goes wrong in a life is caught there: {e}"))
}

/// What a scheduler is given in the middle of a plan: the CIB of the first node that is there, with the time that it counts from.
pub fn content(plan: &Plan, after: Duration) -> Option<Element> {
    let mut world = World::new(plan.clone());
    world.run_until(world.now + after);
    let mut cib = world.hosts().find_map(|h| Some(h.process.as_ref()?.controller.cib().root().clone()))?;
    cib.set("execution-date", world.wall().secs().to_string());
    Some(cib)
}

fn live(plan: &Plan, story: Story) -> (World, Result<Report, Violation>) {
    let mut world = World::new(plan.clone());
    world.book.story = story;
    let judged = catch_unwind(AssertUnwindSafe(|| judge(&mut world)));
    let result = judged.unwrap_or_else(|why| {
        let text = why.downcast_ref::<String>().cloned();
        let text = text.or_else(|| why.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default();
        Err(Violation { property: "panic", at: world.now, text })
    });
    (world, result)
}

fn judge(world: &mut World) -> Result<Report, Violation> {
    let end = world.now + Duration::from_millis(world.plan.trouble_ms());
    watch(world, end)?;
    world.heal();
    let begin = world.now;
    settle(world)?;
    // Time for every monitor to tell what it finds.
    world.expect_rest(true);
    world.run_ms(MONITORS_MS);
    world.expect_rest(false);
    settle(world)?;
    // What operators and agents have brought about is still there: only what has to hold in spite of it.
    check(world, if world.book.monitors_trusted { &AT_REST[..3] } else { &AT_REST[..2] })?;
    world.tidy();
    settle(world)?;
    let settled = world.now.since(begin);
    check(world, &AT_REST)?;
    check(world, &[("liveness", liveness::check)])?;
    Ok(Report {
        node_time: world.now.since(Time::from_millis(1_000)) * world.plan.nodes,
        events: world.book.events,
        schedules: world.book.schedules,
        views: world.book.evs.views_seen,
        fencings: world.book.fencing.begun,
        settled,
        longest_double: world.book.addresses.longest,
        longest_takeover: world.book.takeover.longest,
    })
}

fn check(world: &World, checks: &[(&'static str, Check)]) -> Result<(), Violation> {
    for (property, check) in checks {
        check(world).map_err(|text| Violation { property, at: world.now, text })?;
    }
    Ok(())
}

fn watch(world: &mut World, end: Time) -> Result<(), Violation> {
    while world.now < end {
        world.run_ms(WATCH_MS);
        world.watch_addresses();
        world.watch_takeover();
        world.watch_status();
        world.watch_arbitrator();
        world.watch_links();
        held(world)?;
    }
    Ok(())
}

fn settle(world: &mut World) -> Result<Duration, Violation> {
    let result = world.settle();
    held(world)?;
    result.map_err(|text| Violation { property: "liveness", at: world.now, text })
}

/// Nothing is broken so far.
fn held(world: &mut World) -> Result<(), Violation> {
    let found = [
        ("evs", world.book.evs.broken.take()),
        ("quorum", world.book.quorum.broken.take()),
        ("limits", world.book.limits.broken()),
        ("follow", (world.book.fail_stops > 0).then(|| "a member could not follow the others".to_owned())),
    ];
    for (property, text) in found {
        if let Some(text) = text {
            world.book.fail(property, world.now, text);
        }
    }
    match &world.book.broken {
        Some(violation) => Err(violation.clone()),
        None => Ok(()),
    }
}
