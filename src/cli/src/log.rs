//! What a command tells beside its answer: on standard error, where `PCMK_stderr` or `-V` asks for it.

use base::text::is_true;
use scheduler::{Message, Severity};
use std::sync::atomic::{AtomicBool, Ordering};

static WANTED: AtomicBool = AtomicBool::new(false);

/// Told from now on, for `-V` was given.
pub fn verbose() {
    WANTED.store(true, Ordering::Relaxed);
}

/// What keeps the command from doing what it was asked.
pub fn error(text: &str) {
    say("error", text);
}

/// What the scheduler has to say of a document, each thing once: errors, and with `-V` warnings.
pub fn messages(messages: &[Message]) {
    let first = |(n, m): &(usize, &Message)| !messages[..*n].contains(m);
    for (_, m) in messages.iter().enumerate().filter(first) {
        match m.severity {
            Severity::Error => say("error", &m.text),
            _ if WANTED.load(Ordering::Relaxed) => say("warning", &m.text),
            _ => {}
        }
    }
}

/// Whether programs are to find the original's lines on standard error, and no others.
pub fn is_for_programs() -> bool {
    std::env::var("PCMK_stderr").is_ok_and(|v| is_true(&v))
}

fn say(level: &str, text: &str) {
    if WANTED.load(Ordering::Relaxed) || is_for_programs() {
        kernel::errln!("{level}: {text}");
    }
}
