//! What comes from outside: changes of files, and signals.

use crate::at_once::{Failure, at_once};
use notify::{RecursiveMode, Watcher};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long an event may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn notify(count: usize) -> Result<(), Failure> {
    let root = tempfile::tempdir()?;
    let folder = |number: usize| root.path().join(number.to_string());
    let mut tellers: HashMap<PathBuf, Sender<()>> = HashMap::new();
    let mut told: Vec<Mutex<Receiver<()>>> = Vec::new();
    for number in 0..count {
        std::fs::create_dir(folder(number))?;
        let (sender, receiver) = mpsc::channel();
        tellers.insert(folder(number).join("egg"), sender);
        told.push(Mutex::new(receiver));
    }
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let event = event.expect("the watcher works");
        if event.kind.is_create() {
            for teller in event.paths.iter().filter_map(|path| tellers.get(path)) {
                // The goroutine has had an event already, and has gone.
                let _ = teller.send(());
            }
        }
    })?;
    let watcher = Mutex::new(watcher);
    at_once(count, |number| {
        let own = folder(number);
        watcher
            .lock()
            .expect("no panic")
            .watch(&own, RecursiveMode::NonRecursive)?;
        std::fs::write(own.join("egg"), "an egg")?;
        Ok(told[number]
            .lock()
            .expect("no panic")
            .recv_timeout(PATIENCE)?)
    })?;
    Ok(())
}

pub fn ctrlc(count: usize) -> Result<(), Failure> {
    let state = Arc::new((Mutex::new(false), Condvar::new()));
    let (told, waiting) = (Arc::clone(&state), Mutex::new(0));
    ctrlc::set_handler(move || {
        *told.0.lock().expect("no panic") = true;
        told.1.notify_all();
    })?;
    at_once(count, |_| {
        let mut number = waiting.lock().expect("no panic");
        *number += 1;
        if *number == count {
            use nix::sys::signal::{Signal, kill};
            kill(nix::unistd::Pid::this(), Signal::SIGINT)?;
        }
        drop(number);
        let came = state.0.lock().expect("no panic");
        let (came, _) = state
            .1
            .wait_timeout_while(came, PATIENCE, |came| !*came)
            .expect("no panic");
        if *came {
            Ok(())
        } else {
            Err("no signal came".into())
        }
    })?;
    Ok(())
}
