//! The newest lines of the log in memory, for the blackbox: whatever places they went to, and whether those took them.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use wire::api::BlackboxRecord;

const MAX_LINES: usize = 2000;
/// A longer line is cut.
const MAX_LINE_CHARS: usize = 500;

static LINES: Mutex<(VecDeque<BlackboxRecord>, u64)> = Mutex::new((VecDeque::new(), 0));

pub(super) struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let text = text.0.chars().take(MAX_LINE_CHARS).collect();
        let kind = event.metadata().level().as_str().to_lowercase();
        let line = BlackboxRecord { wall_us: crate::clock::wall_us(), kind, subject: String::new(), text };
        // Held for as long as it takes to move a line; one who panics there loses only lines.
        let Ok(mut lines) = LINES.lock() else { return };
        if lines.0.len() >= MAX_LINES {
            lines.0.pop_front();
            lines.1 += 1;
        }
        lines.0.push_back(line);
    }
}

/// The lines, and how many older ones are gone. Nothing where somebody is in the middle of it: whoever asks may be that one, in
/// a panic.
pub(crate) fn recent() -> (Vec<BlackboxRecord>, u64) {
    LINES.try_lock().map(|lines| (lines.0.iter().cloned().collect(), lines.1)).unwrap_or_default()
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        // A String takes everything.
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}
