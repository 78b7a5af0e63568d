//! Mutations of sample inputs: bytes, lines, numbers and splices, from a seed.

/// Inputs do not grow beyond this.
const MAX_LEN: usize = 16 * 1024;

/// Pieces that upset parsers of text.
const PIECES: [&str; 22] = [
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "\n",
    "\t    ",
    "#",
    "=",
    ":",
    "->",
    "0",
    "-1",
    "65536",
    "4294967296",
    "\u{0}",
    "\u{feff}",
    "&lt;",
    "99999999999999999999",
    "é",
    "<a>",
];

pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        Mutator { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// A sample with a few mutations; now and then none.
    pub fn mutate(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        let mut input = samples[self.below(samples.len())].clone();
        for _ in 0..self.below(6) {
            self.once(&mut input, samples);
        }
        input.truncate(MAX_LEN);
        input
    }

    /// xorshift64*: fast, and the same everywhere.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn once(&mut self, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(40)).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] = self.next() as u8,
            1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 => drop(input.drain(at..end)),
            3 => {
                let piece: Vec<u8> = input[at..end].to_vec();
                for _ in 0..self.below(8) {
                    input.splice(at..at, piece.iter().copied());
                }
            }
            4 => input.truncate(at),
            5 => {
                let other = &samples[self.below(samples.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(200)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            6 => self.swap_lines(input),
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                input.splice(at..at, piece.bytes());
            }
        }
    }

    fn swap_lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = input.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let (a, b) = (self.below(lines.len()), self.below(lines.len()));
        lines.swap(a, b);
        *input = lines.join(&b'\n');
    }
}
