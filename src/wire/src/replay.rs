//! The replay window: which of a sender's latest counters have been seen.

/// Counters remembered below the highest one. Packets of one sender travel over up to eight links of different delay.
pub const WINDOW: u64 = 4096;
const WORDS: usize = (WINDOW / 64) as usize;

/// Bit `c % WINDOW` stands for counter `c`, for the `WINDOW` counters up to the highest one.
pub struct ReplayWindow {
    /// The next counter after the highest seen.
    next: u64,
    bits: [u64; WORDS],
}

impl Default for ReplayWindow {
    fn default() -> ReplayWindow {
        ReplayWindow { next: 0, bits: [0; WORDS] }
    }
}

impl ReplayWindow {
    /// Whether the counter is new; says nothing lasting, call `mark` once the packet has proved authentic.
    pub fn is_new(&self, counter: u64) -> bool {
        if counter >= self.next {
            // The last number is never used, so that `next` cannot overflow.
            return counter != u64::MAX;
        }
        self.next - counter <= WINDOW && !self.get(counter)
    }

    pub fn mark(&mut self, counter: u64) {
        if counter >= self.next {
            if counter - self.next >= WINDOW {
                self.bits = [0; WORDS];
            } else {
                for skipped in self.next..counter {
                    self.set(skipped, false);
                }
            }
            self.next = counter.saturating_add(1);
        }
        self.set(counter, true);
    }

    fn get(&self, counter: u64) -> bool {
        let at = counter % WINDOW;
        self.bits[(at / 64) as usize] >> (at % 64) & 1 == 1
    }

    fn set(&mut self, counter: u64, on: bool) {
        let at = counter % WINDOW;
        let (word, mask) = (&mut self.bits[(at / 64) as usize], 1u64 << (at % 64));
        if on { *word |= mask } else { *word &= !mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_once_and_old_ones_never() {
        let mut w = ReplayWindow::default();
        for c in [0, 5, 3, 4095, 4096, 1, 9000, 8000, 4905] {
            let too_old = w.next > c + WINDOW;
            assert_eq!(w.is_new(c), !too_old, "{c}");
            if !too_old {
                w.mark(c);
            }
            assert!(!w.is_new(c), "{c}");
        }
        assert!(!w.is_new(4904), "left the window");
        assert!(w.is_new(4906));
        w.mark(u64::MAX - 1);
        assert!(!w.is_new(u64::MAX - 1) && !w.is_new(u64::MAX));
    }

    #[test]
    fn agrees_with_a_set_that_remembers_everything() {
        let (mut w, mut seen, mut high, mut x) =
            (ReplayWindow::default(), std::collections::BTreeSet::new(), 0u64, 7u64);
        for i in 0..50_000u64 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let c = (i / 3 + (x >> 33) % 6000).saturating_sub(1500);
            let expected = !seen.contains(&c) && (seen.is_empty() || high < c + WINDOW);
            assert_eq!(w.is_new(c), expected, "{c} at {high}");
            if expected {
                w.mark(c);
                seen.insert(c);
                high = high.max(c);
            }
        }
    }
}
