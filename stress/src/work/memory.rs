//! Work on the heap.

use super::Round;
use crate::random::Random;
use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A block that knows what it must hold.
struct Block {
    bytes: Vec<u8>,
    tag: u8,
}

impl Block {
    fn new(random: &mut Random) -> Self {
        // Mostly small, now and then large enough for pages of its own.
        let limit = if random.below(50) == 0 { 300_000 } else { 700 };
        let tag = random.next() as u8;
        Block {
            bytes: vec![tag; 1 + random.below(limit)],
            tag,
        }
    }

    fn check(&self) {
        let wrong = self.bytes.iter().position(|&byte| byte != self.tag);
        assert_eq!(
            wrong,
            None,
            "a block of {} bytes was written to",
            self.bytes.len()
        );
    }
}

/// Allocates, grows, checks and frees blocks of many sizes and alignments.
pub fn allocation(_: &mut Random) -> Round {
    let mut blocks: Vec<Block> = Vec::new();
    Box::new(move |random| {
        for _ in 0..40 {
            match random.below(4) {
                0 | 1 if blocks.len() < 100 => blocks.push(Block::new(random)),
                2 if !blocks.is_empty() => {
                    let index = random.below(blocks.len());
                    let block = &mut blocks[index];
                    let longer = block.bytes.len() + random.below(200);
                    block.bytes.resize(longer, block.tag);
                    block.bytes.shrink_to_fit();
                }
                _ if !blocks.is_empty() => {
                    let index = random.below(blocks.len());
                    blocks.swap_remove(index).check();
                }
                _ => {}
            }
        }
        let zeroed = vec![0u8; 1 + random.below(20_000)];
        assert!(
            zeroed.iter().all(|&byte| byte == 0),
            "zeroed memory is not zero"
        );
        aligned(random);
    })
}

/// One block with an alignment of up to a page.
fn aligned(random: &mut Random) {
    let layout = Layout::from_size_align(1 + random.below(5_000), 1 << random.below(13));
    let layout = layout.expect("a power of two");
    // SAFETY: the size is not 0.
    let block = unsafe { alloc(layout) };
    assert!(!block.is_null() && (block as usize).is_multiple_of(layout.align()));
    // SAFETY: `size` bytes that nobody else has.
    unsafe { block.write_bytes(0xa5, layout.size()) };
    // SAFETY: the layout that it was allocated with.
    unsafe { dealloc(block, layout) };
}

/// Frees what other goroutines, on other OS threads as a rule, have allocated.
pub fn freed_elsewhere(_: &mut Random) -> Round {
    static POOL: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    Box::new(|random| {
        for _ in 0..20 {
            let own = Block::new(random);
            let other = {
                let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
                pool.push(own);
                let index = random.below(pool.len());
                (pool.len() > 50).then(|| pool.swap_remove(index))
            };
            if let Some(block) = other {
                block.check();
            }
        }
    })
}

/// A hash map with random states, which come from a thread-local.
pub fn hash_map(_: &mut Random) -> Round {
    let mut kept: HashMap<u64, String> = HashMap::new();
    Box::new(move |random| {
        let mut sum = 0u64;
        let mut map = HashMap::new();
        for _ in 0..100 {
            let key = random.next() % 500;
            map.insert(key, key * 3);
            kept.insert(key, key.to_string());
        }
        for (key, value) in &map {
            assert_eq!(*value, key * 3, "the map lost a value");
            sum += key;
        }
        assert_eq!(sum, map.keys().sum::<u64>());
        let key = random.next() % 500;
        if let Some(text) = kept.remove(&key) {
            assert_eq!(text, key.to_string());
        }
    })
}

/// Formats numbers and reads them back.
pub fn formatting(_: &mut Random) -> Round {
    Box::new(|random| {
        for _ in 0..20 {
            let (whole, part) = (random.next(), random.next() as u32);
            let float = f64::from(part) / 7.0;
            let text = format!("{whole:x} {part:>12} {float:?} {:?}", [Some(part); 3]);
            let mut words = text.split_ascii_whitespace();
            let first = words.next().map(|word| u64::from_str_radix(word, 16));
            assert_eq!(first, Some(Ok(whole)), "{text}");
            assert_eq!(words.next().map(str::parse), Some(Ok(part)), "{text}");
            assert_eq!(words.next().map(str::parse), Some(Ok(float)), "{text}");
        }
    })
}

/// Sorts, in both ways of std.
pub fn sorting(_: &mut Random) -> Round {
    Box::new(|random| {
        let original: Vec<u64> = (0..2_000).map(|_| random.next() % 10_000).collect();
        let mut stable: Vec<(u64, usize)> = original.iter().copied().zip(0..).collect();
        stable.sort_by_key(|entry| entry.0);
        let mut unstable = original.clone();
        unstable.sort_unstable();
        assert!(
            stable.windows(2).all(|pair| pair[0] < pair[1]),
            "not stable"
        );
        assert!(
            stable
                .iter()
                .map(|entry| entry.0)
                .eq(unstable.iter().copied())
        );
        let sum = |numbers: &[u64]| numbers.iter().sum::<u64>();
        assert_eq!(sum(&original), sum(&unstable), "sorting lost a value");
    })
}
