//! The same work with 1, 2, 4, 8 and 16 processors: more help only as long as the machine has them.
//!
//! `cargo run --release -p gaggle-examples --bin gomaxprocs_sweep`

use gaggle::runtime;
use std::time::Instant;

/// How many primes there are below `limit`: a goroutine for each part.
fn primes(limit: u32) -> usize {
    let part = limit / 32;
    let parts: Vec<_> = (0..32)
        .map(|k| {
            gaggle::go(move || {
                let end = if k == 31 { limit } else { (k + 1) * part };
                (k * part..end).filter(|n| is_prime(*n)).count()
            })
        })
        .collect();
    let counts = parts.into_iter().map(|part| part.join().expect("no panic"));
    counts.sum()
}

fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

#[gaggle::main]
fn main() {
    let cpus = runtime::num_cpu();
    println!(
        "{cpus} processors on this machine, {} backend",
        runtime::backend_name()
    );
    let at_first = runtime::gomaxprocs(None);
    for processors in [1, 2, 4, 8, 16] {
        runtime::gomaxprocs(Some(processors));
        assert_eq!(runtime::gomaxprocs(None), processors);
        let start = Instant::now();
        assert_eq!(primes(400_000), 33_860);
        println!("GOMAXPROCS {processors:2}: {:.1?}", start.elapsed());
    }
    runtime::gomaxprocs(Some(at_first));
}
