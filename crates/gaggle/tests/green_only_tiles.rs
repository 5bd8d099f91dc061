//! Tile registers (AMX) of goroutines that are suspended, and moved between OS threads. Green backend only: on
//! OS threads the kernel keeps them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;
#[path = "support/tiles.rs"]
mod tiles;

/// Runs `body` on the green backend with two processors and slices of 0.3 ms, in a child process; where there
/// are no tile registers it says so instead.
fn on_two_processors(name: &str, way: &str, body: impl FnOnce()) {
    if support::is_child(name) {
        assert_eq!(gaggle::runtime::backend_name(), "green");
        assert_eq!(tiles::lacking(), None, "the parent had them");
        body();
    } else if let Some(why) = tiles::lacking() {
        println!("skipped: {why}");
    } else if gaggle::runtime::backend_name() == "green" {
        let variables = [
            ("GAGGLE_MAXPROCS", Some("2")),
            ("GAGGLE_TEST_SLICE_MICROSECONDS", Some("300")),
            ("GAGGLE_PREEMPT", Some(way)),
        ];
        let output = support::run_child(name, &variables);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}

/// Sixteen goroutines, which wait and are moved between their rounds, and leave the registers in use every
/// other time.
fn are_kept_by_all() {
    let before = gaggle::runtime::suspensions();
    let workers: Vec<_> = (1..=16u64)
        .map(|seed| {
            gaggle::go(move || {
                for round in 0..50 {
                    // SAFETY: the process may use them, as was asked before.
                    let kept =
                        unsafe { tiles::are_kept(seed << 8 | round, 1 << 20, round % 2 == 0) };
                    assert!(kept, "a tile register was lost in round {round}");
                    gaggle::yield_now();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("it does not panic");
    }
    assert!(
        gaggle::runtime::suspensions() > before,
        "nobody was suspended"
    );
}

#[test]
fn tile_registers_survive_suspension() {
    on_two_processors("tile_registers_survive_suspension", "suspend", || {
        are_kept_by_all();
    });
}

#[test]
fn tile_registers_survive_the_asynchronous_switch() {
    let name = "tile_registers_survive_the_asynchronous_switch";
    on_two_processors(name, "async", are_kept_by_all);
}
