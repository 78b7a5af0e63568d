//! Scores with Pacemaker's infinity arithmetic: ±1,000,000 saturates, and minus infinity wins over plus infinity.

use std::fmt;
use std::ops::{Add, Neg};

/// A placement score, always within `-INFINITY..=INFINITY`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Score(i32);

impl Score {
    pub const INFINITY: Score = Score(1_000_000);
    pub const NEG_INFINITY: Score = Score(-1_000_000);
    pub const ZERO: Score = Score(0);

    /// Clamps `value` into the range of scores.
    pub fn new(value: i64) -> Score {
        Score(value.clamp(-1_000_000, 1_000_000) as i32)
    }

    pub const fn value(self) -> i32 {
        self.0
    }

    pub fn is_infinite(self) -> bool {
        self.0.abs() == 1_000_000
    }

    /// `INFINITY`, `+INFINITY`, `-INFINITY`, the old colour words `red`, `yellow`, `green`, or an integer.
    pub fn parse(text: &str) -> Option<Score> {
        match text {
            "INFINITY" | "+INFINITY" => Some(Score::INFINITY),
            "-INFINITY" | "red" => Some(Score::NEG_INFINITY),
            "yellow" | "green" => Some(Score::ZERO),
            _ => text.trim().parse::<i64>().ok().map(Score::new),
        }
    }
}

impl From<i32> for Score {
    fn from(value: i32) -> Score {
        Score::new(i64::from(value))
    }
}

impl Add for Score {
    type Output = Score;

    /// Minus infinity plus anything is minus infinity; then plus infinity wins; then the sum saturates.
    fn add(self, other: Score) -> Score {
        if self == Score::NEG_INFINITY || other == Score::NEG_INFINITY {
            return Score::NEG_INFINITY;
        }
        if self == Score::INFINITY || other == Score::INFINITY {
            return Score::INFINITY;
        }
        Score::new(i64::from(self.0) + i64::from(other.0))
    }
}

impl Neg for Score {
    type Output = Score;

    fn neg(self) -> Score {
        Score(-self.0)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Score::INFINITY => f.pad("INFINITY"),
            Score::NEG_INFINITY => f.pad("-INFINITY"),
            Score(value) => f.pad(&value.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_infinity_wins() {
        assert_eq!(Score::INFINITY + Score::NEG_INFINITY, Score::NEG_INFINITY);
        assert_eq!(Score::INFINITY + Score::new(-5), Score::INFINITY);
        assert_eq!(Score::new(999_999) + Score::new(999_999), Score::INFINITY);
    }

    #[test]
    fn reads_what_operators_write() {
        assert_eq!(Score::parse("-INFINITY"), Some(Score::NEG_INFINITY));
        assert_eq!(Score::parse("+50"), Some(Score::new(50)));
        assert_eq!(Score::parse("2000000"), Some(Score::INFINITY));
        assert_eq!(Score::parse("many"), None);
    }
}
