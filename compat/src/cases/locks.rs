//! Locks, and a pool of threads for computing.

use crate::at_once::{Failure, at_once, expect_same};
use parking_lot::{Condvar, Mutex, ReentrantMutex, RwLock};
use rayon::prelude::*;
use std::cell::Cell;

const TURNS: usize = 100;

pub fn parking_lot(count: usize) -> Result<(), Failure> {
    let plain = Mutex::new(0);
    let shared = RwLock::new(0);
    let reentrant = ReentrantMutex::new(Cell::new(0));
    let (ended, all_ended) = (Mutex::new(0), Condvar::new());
    at_once(count, |_| {
        for turn in 0..TURNS {
            *plain.lock() += 1;
            if turn % 10 == 0 {
                *shared.write() += 1;
            } else {
                std::hint::black_box(*shared.read());
            }
            let outer = reentrant.lock();
            let before = outer.get();
            if turn % 50 == 0 {
                std::thread::yield_now();
            }
            // Only the goroutine that holds it may enter again.
            reentrant.lock().set(before + 1);
        }
        let mut number = ended.lock();
        *number += 1;
        all_ended.notify_all();
        all_ended.wait_while(&mut number, |number| *number < count);
        Ok(())
    })?;
    let seen = (*plain.lock(), *shared.read(), reentrant.lock().get());
    expect_same(seen, (count * TURNS, count * TURNS / 10, count * TURNS))
}

pub fn rayon(count: usize) -> Result<(), Failure> {
    at_once(count, |number| {
        let sum: usize = (0..10_000)
            .into_par_iter()
            .map(|value| value ^ number)
            .sum();
        expect_same(sum, (0..10_000).map(|value| value ^ number).sum())
    })?;
    Ok(())
}
