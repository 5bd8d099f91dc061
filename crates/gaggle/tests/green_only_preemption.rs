//! Preemption: goroutines that compute without calling anything share the processors with others.
//! Green backend only: on OS threads the kernel does it.
#![cfg(target_os = "linux")]

mod support;

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Runs `body` on the green backend with two processors and slices of 0.3 ms, in a child process.
fn on_two_processors(name: &str, body: impl FnOnce()) {
    if support::is_child(name) {
        assert_eq!(gaggle::runtime::backend_name(), "green");
        body();
    } else if gaggle::runtime::backend_name() == "green" {
        let slice = ("GAGGLE_TEST_SLICE_MICROSECONDS", Some("300"));
        let output = support::run_child(name, &[("GAGGLE_MAXPROCS", Some("2")), slice]);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}

/// As [`on_two_processors`], where the processor `has_it`; elsewhere it says what lacks.
fn on_two_processors_with(what: &str, has_it: bool, name: &str, body: impl FnOnce()) {
    if has_it {
        on_two_processors(name, body);
    } else {
        println!("skipped: {what}: the processor has none");
    }
}

/// Computes, without a call, until `stop`.
fn spin(stop: &AtomicBool) -> u64 {
    let mut state = 1u64;
    while !stop.load(Ordering::Relaxed) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state)
}

#[test]
fn hogs_do_not_starve_a_goroutine_that_is_ready() {
    on_two_processors("hogs_do_not_starve_a_goroutine_that_is_ready", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        let hogs: Vec<_> = (0..8).map(|_| gaggle::go(|| spin(&STOP))).collect();
        // Each of these runs only if the hogs are made to give way.
        for _ in 0..20 {
            gaggle::go(|| ()).join().expect("it does not panic");
        }
        STOP.store(true, Ordering::Relaxed);
        for hog in hogs {
            hog.join().expect("it does not panic");
        }
    });
}

#[test]
fn hogs_do_not_starve_timers() {
    on_two_processors("hogs_do_not_starve_timers", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        static TICKS: AtomicU64 = AtomicU64::new(0);
        let hogs: Vec<_> = (0..6).map(|_| gaggle::go(|| spin(&STOP))).collect();
        gaggle::go(|| {
            for _ in 0..50 {
                std::thread::sleep(Duration::from_millis(1));
                TICKS.fetch_add(1, Ordering::Relaxed);
            }
            STOP.store(true, Ordering::Relaxed);
        })
        .join()
        .expect("it does not panic");
        for hog in hogs {
            hog.join().expect("it does not panic");
        }
        assert_eq!(TICKS.load(Ordering::Relaxed), 50);
    });
}

/// While every processor is busy nobody sleeps in the netpoller: somebody has to look there all the same.
#[test]
fn hogs_do_not_starve_who_waits_for_a_socket() {
    on_two_processors("hogs_do_not_starve_who_waits_for_a_socket", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        let (mut own, mut other) = UnixStream::pair().expect("descriptors enough");
        // It answers from outside, so that no goroutine's turn is what makes the socket ready.
        let echo = std::thread::spawn(move || {
            let mut byte = [0];
            while other.read_exact(&mut byte).is_ok() {
                other.write_all(&byte).expect("the other end is open");
            }
        });
        let hogs: Vec<_> = (0..6).map(|_| gaggle::go(|| spin(&STOP))).collect();
        gaggle::go(move || {
            for number in 0..50 {
                let mut byte = [0];
                own.write_all(&[number]).expect("the other end is open");
                own.read_exact(&mut byte).expect("it answers");
                assert_eq!(byte, [number]);
            }
            STOP.store(true, Ordering::Relaxed);
        })
        .join()
        .expect("it does not panic");
        for hog in hogs {
            hog.join().expect("it does not panic");
        }
        echo.join().expect("it does not panic");
    });
}

#[test]
fn suspended_goroutines_end_right() {
    on_two_processors("suspended_goroutines_end_right", || {
        // Each computes a known sum while all share two processors and are moved about.
        let before = gaggle::runtime::suspensions();
        let workers: Vec<_> = (0..16u64)
            .map(|seed| {
                gaggle::go(move || {
                    let mut sum = 0u64;
                    let mut texts = Vec::new();
                    for step in 0..4_000_000u64 {
                        sum = sum.wrapping_mul(31).wrapping_add(black_box(step ^ seed));
                        if step % 1000 == 0 {
                            texts.push(format!("{seed}:{step}"));
                        }
                    }
                    (sum, texts.len(), seed)
                })
            })
            .collect();
        for worker in workers {
            let (sum, texts, seed) = worker.join().expect("it does not panic");
            let mut wanted = 0u64;
            for step in 0..4_000_000u64 {
                wanted = wanted.wrapping_mul(31).wrapping_add(black_box(step ^ seed));
            }
            assert_eq!((sum, texts), (wanted, 4000));
        }
        assert!(
            gaggle::runtime::suspensions() > before,
            "nobody was suspended"
        );
    });
}

#[test]
fn raw_system_calls_keep_no_processor_and_are_not_interrupted() {
    on_two_processors(
        "raw_system_calls_keep_no_processor_and_are_not_interrupted",
        || {
            // rustix makes its system calls by an instruction of its own.
            let time = rustix::thread::Timespec {
                tv_sec: 0,
                tv_nsec: 200_000_000,
            };
            let begun = std::time::Instant::now();
            let sleepers: Vec<_> = (0..40)
                .map(|_| gaggle::go(move || rustix::thread::nanosleep(&time)))
                .collect();
            // Runs only if one of the two processors is taken from a sleeper.
            gaggle::go(|| ()).join().expect("it does not panic");
            for sleeper in sleepers {
                let outcome = sleeper.join().expect("it does not panic");
                let slept = matches!(outcome, rustix::thread::NanosleepRelativeResult::Ok);
                assert!(slept, "{outcome:?}");
            }
            // One after the other on two processors they would take 4 s.
            assert!(begun.elapsed() < Duration::from_secs(3));
        },
    );
}

/// Holds values in all vector registers that the machine has over a long computation without a call.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn vectors_are_kept(seed: u64, rounds: u64) -> bool {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_set1_epi64x, _mm256_storeu_si256, _mm256_xor_si256,
    };
    let mut lanes: [__m256i; 12] =
        std::array::from_fn(|lane| _mm256_set1_epi64x((seed + lane as u64) as i64));
    let mut plain: [u64; 12] = std::array::from_fn(|lane| seed + lane as u64);
    let one = _mm256_set1_epi64x(0x9e37_79b9);
    for round in 0..rounds {
        let mask = _mm256_set1_epi64x(round as i64);
        for lane in &mut lanes {
            *lane = _mm256_xor_si256(_mm256_add_epi64(*lane, one), mask);
        }
        for lane in &mut plain {
            *lane = lane.wrapping_add(0x9e37_79b9) ^ round;
        }
    }
    lanes.iter().zip(plain).all(|(lane, wanted)| {
        let mut words = [0u64; 4];
        // SAFETY: room for 32 bytes, unaligned as the instruction allows.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), *lane) };
        words.iter().all(|&word| word == wanted)
    })
}

#[test]
fn vector_registers_survive_suspension() {
    let has_it = std::arch::is_x86_feature_detected!("avx2");
    let name = "vector_registers_survive_suspension";
    on_two_processors_with("AVX2", has_it, name, || {
        let before = gaggle::runtime::suspensions();
        let workers: Vec<_> = (0..16)
            .map(|seed| {
                // SAFETY: the processor has AVX2, as was just asked.
                gaggle::go(move || unsafe { vectors_are_kept(seed * 1_000, 2_000_000) })
            })
            .collect();
        for worker in workers {
            assert!(worker.join().expect("it does not panic"));
        }
        assert!(
            gaggle::runtime::suspensions() > before,
            "nobody was suspended"
        );
    });
}

/// As [`vectors_are_kept`] with the registers of 512 bits, and a mask register that stays in use; `wait`
/// is called now and then.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn wide_vectors_are_kept(seed: u64, rounds: u64, wait: impl Fn()) -> bool {
    use std::arch::x86_64::{
        __m512i, _mm512_cmplt_epu64_mask, _mm512_mask_add_epi64, _mm512_set1_epi64,
        _mm512_storeu_si512, _mm512_xor_si512,
    };
    const LANES: usize = 24;
    let mut lanes: [__m512i; LANES] =
        std::array::from_fn(|lane| _mm512_set1_epi64((seed + lane as u64) as i64));
    let mut plain: [u64; LANES] = std::array::from_fn(|lane| seed + lane as u64);
    let one = _mm512_set1_epi64(0x9e37_79b9);
    let all = _mm512_cmplt_epu64_mask(_mm512_set1_epi64(0), one);
    for round in 0..rounds {
        let mask = _mm512_set1_epi64(round as i64);
        for lane in &mut lanes {
            *lane = _mm512_xor_si512(_mm512_mask_add_epi64(*lane, all, *lane, one), mask);
        }
        for lane in &mut plain {
            *lane = lane.wrapping_add(0x9e37_79b9) ^ round;
        }
        if round % 100_000 == 0 {
            wait();
        }
    }
    lanes.iter().zip(plain).all(|(lane, wanted)| {
        let mut words = [0u64; 8];
        // SAFETY: room for 64 bytes, unaligned as the instruction allows.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), *lane) };
        words.iter().all(|&word| word == wanted)
    })
}

/// Runs sixteen of them at once, each of which calls `wait` now and then.
#[cfg(target_arch = "x86_64")]
fn wide_vectors_are_kept_by_all(wait: fn()) {
    let workers: Vec<_> = (0..16)
        .map(|seed| {
            // SAFETY: the caller has asked whether the processor has AVX-512.
            gaggle::go(move || unsafe { wide_vectors_are_kept(seed * 1_000, 1_000_000, wait) })
        })
        .collect();
    for worker in workers {
        assert!(worker.join().expect("it does not panic"));
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn wide_vector_registers_survive_suspension() {
    let has_it = std::arch::is_x86_feature_detected!("avx512f");
    let name = "wide_vector_registers_survive_suspension";
    on_two_processors_with("AVX-512", has_it, name, || {
        let before = gaggle::runtime::suspensions();
        wide_vectors_are_kept_by_all(|| ());
        assert!(
            gaggle::runtime::suspensions() > before,
            "nobody was suspended"
        );
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn wide_vector_registers_survive_hand_off() {
    let has_it = std::arch::is_x86_feature_detected!("avx512f");
    let name = "wide_vector_registers_survive_hand_off";
    on_two_processors_with("AVX-512", has_it, name, || {
        // No hook sees this call: the processor is taken while the kernel has the goroutine, which goes on
        // without one (see the test of raw system calls), and no call of C saves a register before.
        wide_vectors_are_kept_by_all(|| {
            let time = rustix::thread::Timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000,
            };
            // Shorter where the turn ends just as the call begins: the kernel does not restart this one.
            let _ = rustix::thread::nanosleep(&time);
        });
    });
}

#[test]
fn who_computes_in_libc_gives_way_too() {
    on_two_processors("who_computes_in_libc_gives_way_too", || {
        static STOP: AtomicBool = AtomicBool::new(false);
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                gaggle::go(|| {
                    // Nearly all of the time is spent in one function of libc.
                    let from = vec![1u8; 8 << 20];
                    let mut to = vec![0u8; 8 << 20];
                    loop {
                        to.copy_from_slice(black_box(&from));
                        if STOP.load(Ordering::Relaxed) {
                            return to[0];
                        }
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            gaggle::go(|| ()).join().expect("it does not panic");
            std::thread::sleep(Duration::from_millis(1));
        }
        STOP.store(true, Ordering::Relaxed);
        for hog in hogs {
            assert_eq!(hog.join().expect("it does not panic"), 1);
        }
    });
}

#[test]
fn the_process_ends_with_suspended_goroutines() {
    on_two_processors("the_process_ends_with_suspended_goroutines", || {
        static NEVER: AtomicBool = AtomicBool::new(false);
        for _ in 0..10 {
            drop(gaggle::go(|| spin(&NEVER)));
        }
        while gaggle::runtime::suspensions() < 5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let status = std::process::Command::new("true").status();
        assert!(status.expect("a process can be started").success());
        // The test's child process exits while ten goroutines compute.
    });
}

#[test]
fn the_other_ways_of_preemption_work_as_well() {
    for (name, way) in [("hand_off_way", "handoff"), ("asynchronous_way", "async")] {
        let test = "the_other_ways_of_preemption_work_as_well";
        if support::is_child(test) {
            assert_eq!(gaggle::runtime::backend_name(), "green");
            static STOP: AtomicBool = AtomicBool::new(false);
            let hogs: Vec<_> = (0..6).map(|_| gaggle::go(|| spin(&STOP))).collect();
            for _ in 0..50 {
                std::thread::sleep(Duration::from_millis(1));
                gaggle::go(|| ()).join().expect("it does not panic");
            }
            STOP.store(true, Ordering::Relaxed);
            for hog in hogs {
                hog.join().expect("it does not panic");
            }
            return;
        }
        if gaggle::runtime::backend_name() == "green" {
            let variables = [
                ("GAGGLE_PREEMPT", Some(way)),
                ("GAGGLE_MAXPROCS", Some("2")),
                ("GAGGLE_TEST_SLICE_MICROSECONDS", Some("300")),
            ];
            let output = support::run_child(test, &variables);
            assert!(
                output.status.success(),
                "{name}: {}",
                support::said(&output)
            );
        }
    }
}

#[test]
fn who_makes_one_short_call_after_the_other_gives_way_too() {
    on_two_processors(
        "who_makes_one_short_call_after_the_other_gives_way_too",
        || {
            static STOP: AtomicBool = AtomicBool::new(false);
            let hogs: Vec<_> = (0..4)
                .map(|_| {
                    gaggle::go(|| {
                        use std::os::unix::fs::FileExt;
                        let file = std::fs::File::open("/proc/self/exe").expect("this program");
                        let mut bytes = [0; 64];
                        while !STOP.load(Ordering::Relaxed) {
                            let read = file.read_at(&mut bytes, 0).expect("it can be read");
                            assert_eq!(read, 64);
                        }
                    })
                })
                .collect();
            for _ in 0..20 {
                gaggle::go(|| ()).join().expect("it does not panic");
            }
            STOP.store(true, Ordering::Relaxed);
            for hog in hogs {
                hog.join().expect("it does not panic");
            }
        },
    );
}
