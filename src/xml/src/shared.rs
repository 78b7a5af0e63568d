//! Words that occur again and again in a document (names, ids, states), kept once.

use std::sync::Arc;

/// Longer ones are hardly ever repeated.
const LONGEST: usize = 128;
/// Most words that are remembered at a time.
const MOST: usize = 1 << 17;

/// Words that came more than once lately, one per slot: what it gives for equal words is mostly, not always, the same memory.
///
/// A word is kept when it comes for the second time; so the many that come once (keys of transitions) push nothing out, and
/// what is not equal is told by its mark, without a look at memory that nobody has used for long.
pub(crate) struct Words {
    slots: Vec<Slot>,
}

#[derive(Clone, Default)]
struct Slot {
    /// Mark of the last word that was not kept; never 0 once there was one.
    seen: u32,
    /// Mark of the word that is kept.
    mark: u32,
    kept: Option<Arc<str>>,
}

impl Words {
    pub fn with_room(words: usize) -> Words {
        Words { slots: vec![Slot::default(); words.clamp(1, MOST).next_power_of_two()] }
    }

    /// Room for the values of a document of this many bytes.
    pub fn for_text(bytes: usize) -> Words {
        Words::with_room((bytes / 64).max(64))
    }

    pub fn get(&mut self, word: &str) -> Arc<str> {
        if word.len() > LONGEST {
            return Arc::from(word);
        }
        let hash = hash(word);
        let at = (hash as usize) & (self.slots.len() - 1);
        let mark = (hash >> 32) as u32 | 1;
        let slot = &mut self.slots[at];
        match &slot.kept {
            Some(known) if slot.mark == mark && **known == *word => return Arc::clone(known),
            _ => {}
        }
        let made: Arc<str> = Arc::from(word);
        if slot.seen == mark {
            (slot.mark, slot.kept) = (mark, Some(Arc::clone(&made)));
        } else {
            slot.seen = mark;
        }
        made
    }
}

/// FNV-1a over words of eight bytes, folded. Who guesses it can only make the memory of a word be spent twice.
fn hash(word: &str) -> u64 {
    let (eights, rest) = word.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let all = eights.iter().chain([&last]).fold(0xcbf2_9ce4_8422_2325_u64, |h, eight| {
        let h = (h ^ u64::from_le_bytes(*eight)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^ (h >> 29)
    });
    all ^ (all >> 32) ^ word.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_share_memory_and_crowding_loses_none() {
        let mut words = Words::with_room(2);
        let all = [(); 3].map(|()| words.get("node1"));
        assert!(Arc::ptr_eq(&all[1], &all[2]), "from the second on");
        for i in 0..100 {
            let word = format!("w{i}");
            assert_eq!(*words.get(&word), *word);
        }
        assert_eq!(*words.get("node1"), *"node1");
    }
}
