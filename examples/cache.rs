//! A cache behind a read-write lock: many read at once, and each value is worked out once.
//!
//! `cargo run -p gaggle-examples --bin cache`

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::thread::sleep;
use std::time::Duration;

#[derive(Default)]
struct Cache {
    entries: RwLock<HashMap<u32, Arc<OnceLock<String>>>>,
    misses: AtomicUsize,
}

impl Cache {
    fn get(&self, key: u32) -> String {
        // Reading first: the usual case needs no exclusive access.
        let known = self.entries.read().expect("no panic").get(&key).cloned();
        let entry = known.unwrap_or_else(|| {
            // Between the two locks another may have been here, so look again.
            let mut entries = self.entries.write().expect("no panic");
            Arc::clone(entries.entry(key).or_default())
        });
        // No lock is held here: a slow value holds up only those who want that one.
        let value = entry.get_or_init(|| {
            self.misses.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(20));
            format!("user {key}")
        });
        value.clone()
    }
}

#[gaggle::main]
fn main() {
    let cache = Cache::default();
    gaggle::scope(|scope| {
        for n in 0..100 {
            let cache = &cache;
            scope.go(move || {
                let key = n % 5;
                assert_eq!(cache.get(key), format!("user {key}"));
            });
        }
    });
    let misses = cache.misses.load(Ordering::Relaxed);
    println!("100 readers of 5 keys, {misses} misses");
    assert_eq!(misses, 5);
}
