//! When to ask for one address, and when nobody holds it. Pure: time is an argument.
//!
//! ```text
//!   ask ─probe─► ask ─probe─► ask ─answer─► free          nobody answers for so long (Bounds::asked)
//!    ▲                                │
//!    └───────────── again ────────────┴─ answered: from the beginning
//!
//!   free ─half of Bounds::in_flight─► ask ─answer─► free   so that the verdict of now is never an old one
//! ```

use base::lease::Bounds;
use std::time::Duration;

/// What to do at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Ask,
    /// Nothing before this, unless an answer comes.
    Wait(Duration),
    /// Nobody answers. It is asked on.
    Free,
}

pub(super) struct Question {
    bounds: Bounds,
    /// Questions since the last answer.
    asked: u32,
    next: Duration,
}

impl Question {
    pub fn new(bounds: Bounds, now: Duration) -> Question {
        Question { bounds, asked: 0, next: now }
    }

    pub fn step(&mut self, now: Duration) -> Step {
        if now < self.next {
            return Step::Wait(self.next);
        }
        if self.asked >= Bounds::PROBES {
            (self.asked, self.next) = (Bounds::PROBES - 1, now + self.bounds.in_flight / 2);
            return Step::Free;
        }
        self.asked += 1;
        self.next = now + if self.asked == Bounds::PROBES { self.bounds.answer } else { self.bounds.probe };
        Step::Ask
    }

    /// Somebody holds it at `now`.
    pub fn answered(&mut self, now: Duration) {
        self.asked = 0;
        self.next = now + self.bounds.again;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Bounds = Bounds::STANDARD;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// When each question is asked until the address counts as free, with answers at these moments.
    fn run(answers: &[u64]) -> (Vec<u64>, u64) {
        let (mut question, mut asked) = (Question::new(B, ms(1000)), Vec::new());
        for now in 1000..20_000 {
            if answers.contains(&now) {
                question.answered(ms(now));
            }
            loop {
                match question.step(ms(now)) {
                    Step::Ask => asked.push(now),
                    Step::Wait(until) => {
                        assert!(until > ms(now));
                        break;
                    }
                    Step::Free => return (asked, now),
                }
            }
        }
        panic!("never free: {asked:?}");
    }

    #[test]
    fn silence_is_believed_after_three_questions() {
        assert_eq!(run(&[]), (vec![1000, 1006, 1012], 1020));
        assert_eq!(ms(20), B.asked());
    }

    #[test]
    fn an_answer_at_any_moment_counts() {
        let again = B.again.as_millis() as u64;
        for at in 1000..1020 {
            let (asked, free) = run(&[at]);
            assert_eq!(free, at + again + 20, "answered at {at}");
            assert_eq!(asked.iter().filter(|t| **t >= at).count(), 3, "{asked:?}");
        }
    }

    #[test]
    fn as_long_as_answers_come_it_is_held() {
        let answers: Vec<u64> = (1000..5000).step_by(20).collect();
        let (_, free) = run(&answers);
        assert!(free >= 4980 + 40, "{free}");
    }

    #[test]
    fn what_is_free_stays_so_by_new_questions_alone() {
        let mut question = Question::new(B, ms(0));
        let (mut free, mut asked) = (Vec::new(), Vec::new());
        for now in 0..400 {
            while let step @ (Step::Ask | Step::Free) = question.step(ms(now)) {
                if step == Step::Ask { asked.push(now) } else { free.push(now) }
            }
        }
        let gaps: Vec<u64> = free.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(gaps.len() >= 5 && gaps.iter().all(|gap| ms(*gap) < B.in_flight), "{free:?}");
        assert!(free.windows(2).all(|w| asked.iter().any(|at| (w[0]..w[1]).contains(at))), "{free:?} {asked:?}");
        // An answer starts it all over.
        question.answered(ms(400));
        let again = (400..500).filter(|now| question.step(ms(*now)) == Step::Ask).count();
        assert_eq!(again, Bounds::PROBES as usize + 1);
    }

    #[test]
    fn a_machine_that_stood_still_asks_all_its_questions() {
        let mut question = Question::new(B, ms(0));
        for at in [0, 5000, 9000] {
            assert_eq!(question.step(ms(at)), Step::Ask);
            assert!(matches!(question.step(ms(at)), Step::Wait(_)));
        }
        assert_eq!(question.step(ms(9008)), Step::Free);
    }
}
