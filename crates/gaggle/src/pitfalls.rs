//! What goes wrong in Go programs, and what becomes of it here: documentation only.
//!
//! Each pitfall is a program. Most do not compile; the others are caught when they run. Beside each
//! that does not compile stands what does.
//!
//! # Does not compile
//!
//! ## A goroutine that captures the loop's variable
//! In Go before 1.22 all goroutines of the loop saw the variable's last value. A goroutine that may
//! outlive its starter cannot borrow:
//! ```compile_fail,E0373
//! for n in 0..3 {
//!     gaggle::go(|| println!("{n}"));
//! }
//! ```
//! It owns a copy, or a scope promises that it ends in time:
//! ```
//! for n in 0..3 {
//!     gaggle::go(move || println!("{n}"));
//! }
//! for n in 0..3 {
//!     gaggle::scope(|scope| drop(scope.go(|| println!("{n}"))));
//! }
//! ```
//!
//! ## A counter without a lock
//! ```compile_fail,E0499
//! let mut hits = 0;
//! gaggle::scope(|scope| {
//!     scope.go(|| hits += 1);
//!     scope.go(|| hits += 1);
//! });
//! ```
//! ```
//! use std::sync::Mutex;
//! let hits = Mutex::new(0);
//! gaggle::scope(|scope| {
//!     scope.go(|| *hits.lock().unwrap() += 1);
//!     scope.go(|| *hits.lock().unwrap() += 1);
//! });
//! assert_eq!(hits.into_inner().unwrap(), 2);
//! ```
//!
//! ## A map that is read while it is written
//! ```compile_fail,E0502
//! let mut ages = std::collections::HashMap::from([("Nils", 14)]);
//! gaggle::scope(|scope| {
//!     scope.go(|| ages.insert("Akka", 100));
//!     scope.go(|| ages.get("Nils").copied());
//! });
//! ```
//! ```
//! let ages = std::sync::RwLock::new(std::collections::HashMap::from([("Nils", 14)]));
//! gaggle::scope(|scope| {
//!     scope.go(|| ages.write().unwrap().insert("Akka", 100));
//!     scope.go(|| ages.read().unwrap().get("Nils").copied());
//! });
//! ```
//!
//! ## A value that is still used after it was sent
//! ```compile_fail,E0382
//! let (sender, _receiver) = gaggle::chan::bounded(1);
//! let mut flock = vec!["Akka"];
//! sender.send(flock).unwrap();
//! flock.push("Nils"); // the receiver has it
//! ```
//! ```
//! let (sender, _receiver) = gaggle::chan::bounded(1);
//! let mut flock = vec!["Akka"];
//! sender.send(flock.clone()).unwrap();
//! flock.push("Nils"); // one's own
//! ```
//!
//! ## What belongs to one thread
//! ```compile_fail,E0277
//! let count = std::rc::Rc::new(7);
//! gaggle::go(move || println!("{count}"));
//! ```
//! ```
//! let count = std::sync::Arc::new(7);
//! gaggle::go(move || println!("{count}"));
//! ```
//!
//! ## Closing from the receiver
//! ```compile_fail,E0599
//! let (_sender, receiver) = gaggle::chan::bounded::<u8>(1);
//! receiver.close();
//! ```
//! Who does not want any more drops its receiver, and the senders hear of it:
//! ```
//! let (sender, receiver) = gaggle::chan::bounded::<u8>(1);
//! drop(receiver);
//! assert!(sender.send(1).is_err());
//! ```
//!
//! ## Copying a lock
//! ```compile_fail,E0599
//! let lock = std::sync::Mutex::new(7);
//! let other = lock.clone();
//! ```
//! ```
//! let lock = std::sync::Arc::new(std::sync::Mutex::new(7));
//! let same = std::sync::Arc::clone(&lock);
//! ```
//!
//! ## Touching what a lock guards, without the lock
//! ```compile_fail,E0614
//! let balance = std::sync::Mutex::new(7);
//! *balance += 1;
//! ```
//! ```
//! let balance = std::sync::Mutex::new(7);
//! *balance.lock().unwrap() += 1; // and the lock is given back here, on every way out
//! ```
//!
//! ## Using what was unlocked, or unlocking twice
//! ```compile_fail,E0382
//! let balance = std::sync::Mutex::new(7);
//! let guard = balance.lock().unwrap();
//! drop(guard);
//! drop(guard);
//! ```
//! ```
//! let balance = std::sync::Mutex::new(7);
//! let guard = balance.lock().unwrap();
//! drop(guard);
//! ```
//!
//! ## A wait that was forgotten
//! What goroutines borrow cannot be used before they have ended, and a scope cannot be left before:
//! ```compile_fail,E0505
//! let text = String::from("geese");
//! gaggle::scope(|scope| {
//!     scope.go(|| println!("{text}"));
//!     drop(text);
//! });
//! ```
//! ```
//! let text = String::from("geese");
//! gaggle::scope(|scope| drop(scope.go(|| println!("{text}"))));
//! drop(text);
//! ```
//!
//! ## An error that nobody looks at
//! ```compile_fail
//! #![deny(unused_must_use)]
//! let (sender, _receiver) = gaggle::chan::bounded(1);
//! sender.send(1);
//! ```
//! ```
//! #![deny(unused_must_use)]
//! let (sender, _receiver) = gaggle::chan::bounded(1);
//! sender.send(1).expect("there is room");
//! ```
//!
//! # Caught when it runs
//!
//! ## Sending on a closed channel
//! Go panics. Here the value comes back:
//! ```
//! use gaggle::chan::{bounded, SendError};
//! let (sender, _receiver) = bounded(1);
//! sender.close();
//! assert_eq!(sender.send("late"), Err(SendError("late")));
//! ```
//!
//! ## Closing twice
//! Go panics. Here nothing happens the second time:
//! ```
//! let (sender, receiver) = gaggle::chan::bounded::<u8>(1);
//! sender.close();
//! sender.close();
//! assert!(receiver.recv().is_err());
//! ```
//!
//! ## A leaked goroutine
//! [`#[gaggle::test]`](macro@crate::test) fails, with the goroutine's stack; so does, under any harness:
//! ```should_panic
//! gaggle::testing::leak_check(|| {
//!     let (sender, receiver) = gaggle::chan::unbuffered();
//!     gaggle::go(move || sender.send("nobody listens"));
//!     std::mem::forget(receiver); // as a structure that lives on would keep it
//! });
//! ```
//! ```
//! gaggle::testing::leak_check(|| {
//!     let (sender, receiver) = gaggle::chan::unbuffered();
//!     gaggle::go(move || sender.send("nobody listens"));
//!     drop(receiver); // the send fails, and the goroutine ends
//! });
//! ```
//!
//! ## A `cancel` that is never called
//! Go's `vet` complains. Here dropping it cancels; so it must be kept for as long as the context shall
//! last, and `_` keeps nothing:
//! ```
//! let (context, _cancel) = gaggle::context::background().with_cancel();
//! assert!(context.err().is_none());
//! let (context, _) = gaggle::context::background().with_cancel();
//! assert!(context.err().is_some());
//! ```
//!
//! ## A `WaitGroup` that is done more often than was added
//! ```should_panic
//! let group = gaggle::sync::WaitGroup::new();
//! group.add(1);
//! group.done();
//! group.done();
//! ```
//! [`WaitGroup::go`](crate::sync::WaitGroup::go) counts by itself, panic or not:
//! ```
//! let group = gaggle::sync::WaitGroup::new();
//! group.go(|| panic!("even so"));
//! group.wait();
//! ```
//!
//! ## A panic in a goroutine
//! Go's ends the process. Here it goes to who joins; see [`PanicPolicy`](crate::runtime::PanicPolicy)
//! for the others:
//! ```
//! let payload = gaggle::go(|| panic!("no")).join().unwrap_err();
//! assert_eq!(payload.downcast_ref(), Some(&"no"));
//! ```
//!
//! ## A timer for each turn of a loop
//! `time.After` in a loop keeps a timer for each turn. [`chan::after`](crate::chan::after) is a time and
//! nothing else:
//! ```
//! use std::time::Duration;
//! for _ in 0..100_000 {
//!     drop(gaggle::chan::after(Duration::from_secs(3600)));
//! }
//! ```
//!
//! ## A goroutine for each of a million jobs
//! A group has a limit, and who comes when it is reached waits:
//! ```
//! use gaggle::group::Group;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! static RUNNING: AtomicU32 = AtomicU32::new(0);
//! let group = Group::<String>::new().limit(8);
//! for _ in 0..1000 {
//!     group.go(|| {
//!         assert!(RUNNING.fetch_add(1, Ordering::SeqCst) < 8);
//!         RUNNING.fetch_sub(1, Ordering::SeqCst);
//!         Ok(())
//!     });
//! }
//! group.wait().unwrap();
//! ```
//!
//! ## An error in a goroutine that nobody hears of
//! [`Group::wait`](crate::group::Group::wait) answers the first, and must be looked at:
//! ```
//! let group = gaggle::group::Group::<&str>::new();
//! group.go(|| Err("disk full"));
//! assert_eq!(group.wait(), Err("disk full"));
//! ```
//!
//! ## A deadlock
//! When no goroutine can ever go on, the green backend ends the process, as Go does, with the list of who
//! waits where (`examples/deadlock.rs`).
