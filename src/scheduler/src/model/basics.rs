//! Text and scores as the whole model has them.

use std::sync::Arc;

/// Text that the CIB's tree and the model hold together.
pub type Str = Arc<str>;

pub const INFINITY: i32 = 1_000_000;

/// Adds scores as Pacemaker does: minus infinity wins, then plus infinity, then the sum saturates.
pub fn add_scores(a: i32, b: i32) -> i32 {
    if a <= -INFINITY || b <= -INFINITY {
        -INFINITY
    } else if a >= INFINITY || b >= INFINITY {
        INFINITY
    } else {
        (a + b).clamp(-INFINITY, INFINITY)
    }
}

pub fn score_text(score: i32) -> String {
    if score >= INFINITY {
        "INFINITY".to_owned()
    } else if score <= -INFINITY {
        "-INFINITY".to_owned()
    } else {
        score.to_string()
    }
}
