//! Words that occur again and again in a document (names, ids, states), kept once.

use std::sync::Arc;

/// Longer ones are hardly ever repeated.
const LONGEST: usize = 128;
/// Most words that are remembered at a time.
const MOST: usize = 1 << 18;

/// The last words seen, one per slot: what it gives for equal words is mostly, not always, the same memory.
pub(crate) struct Words {
    slots: Vec<Option<Arc<str>>>,
}

impl Words {
    pub fn with_room(words: usize) -> Words {
        Words { slots: vec![None; words.clamp(1, MOST).next_power_of_two()] }
    }

    /// Room for the values of a document of this many bytes.
    pub fn for_text(bytes: usize) -> Words {
        Words::with_room((bytes / 32).max(64))
    }

    pub fn get(&mut self, word: &str) -> Arc<str> {
        if word.len() > LONGEST {
            return Arc::from(word);
        }
        let at = (hash(word) as usize) & (self.slots.len() - 1);
        match &mut self.slots[at] {
            Some(known) if **known == *word => Arc::clone(known),
            slot => {
                let made: Arc<str> = Arc::from(word);
                *slot = Some(Arc::clone(&made));
                made
            }
        }
    }
}

/// FNV-1a, folded. Who guesses it can only make the memory of a word be spent twice.
fn hash(word: &str) -> u64 {
    let all = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    all ^ (all >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_share_memory_and_crowding_loses_none() {
        let mut words = Words::with_room(2);
        let (a, b) = (words.get("node1"), words.get("node1"));
        assert!(Arc::ptr_eq(&a, &b));
        for i in 0..100 {
            let word = format!("w{i}");
            assert_eq!(*words.get(&word), *word);
        }
        assert_eq!(*words.get("node1"), *"node1");
    }
}
