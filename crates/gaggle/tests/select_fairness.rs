//! A select chooses each of the arms that are ready with the same probability: chi-squared tests over many
//! draws.
//!
//! The bound is the one that a fair select exceeds once in 10^9 tests, by Wilson and Hilferty's approximation
//! ("The Distribution of Chi-Square", 1931).

use gaggle::chan::{Receiver, Sender, bounded, never};
use gaggle::select;
use gaggle::select::{RecvArm, Select, SendArm};

/// Draws of each test.
const DRAWS: usize = 40_000;

/// Insists that `counts`, the outcomes of a draw that should be uniform, could be.
fn assert_uniform(counts: &[usize]) {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let squares = counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2) / expected);
    let statistic: f64 = squares.sum();
    let freedom = (counts.len() - 1) as f64;
    // The normal distribution's quantile of 10^-9.
    let quantile = 5.998;
    let part = 2.0 / (9.0 * freedom);
    let bound = freedom * (1.0 - part + quantile * part.sqrt()).powi(3);
    assert!(
        statistic < bound,
        "{statistic} of at most {bound}: {counts:?}"
    );
}

/// Puts back what a receive takes out.
fn refill(sender: &Sender<usize>, receiver: &Receiver<usize>) {
    while sender.try_send(0).is_ok() {}
    assert!(!receiver.is_empty());
}

#[test]
fn the_bound_is_not_exceeded_by_what_is_fair_and_is_by_what_is_not() {
    assert_uniform(&[5_000, 5_050, 4_950]);
    let unfair = std::panic::catch_unwind(|| assert_uniform(&[5_400, 5_000, 4_600]));
    assert!(unfair.is_err());
}

#[test]
fn lists_of_ready_receives_are_chosen_from_uniformly() {
    for arm_count in [2, 3, 8, 25] {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..arm_count).map(|_| bounded(1)).unzip();
        let mut counts = vec![0; arm_count];
        for _ in 0..DRAWS {
            for (sender, receiver) in senders.iter().zip(&receivers) {
                refill(sender, receiver);
            }
            let mut arms: Vec<_> = receivers.iter().map(RecvArm::new).collect();
            let mut list = Select::new();
            for arm in &mut arms {
                list.add(arm);
            }
            counts[list.wait()] += 1;
        }
        assert_uniform(&counts);
    }
}

#[test]
fn arms_that_are_not_ready_favour_none_of_their_neighbours() {
    // A choice that begins at a random arm and takes the next that is ready would favour those behind
    // the gaps.
    const ARMS: usize = 9;
    const READY: [usize; 3] = [1, 2, 7];
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..ARMS).map(|_| bounded(1)).unzip();
    let mut counts = [0; ARMS];
    for _ in 0..DRAWS {
        READY
            .iter()
            .for_each(|&n| refill(&senders[n], &receivers[n]));
        let mut arms: Vec<_> = receivers.iter().map(RecvArm::new).collect();
        let mut list = Select::new();
        for arm in &mut arms {
            list.add(arm);
        }
        counts[list.wait()] += 1;
    }
    assert_eq!(
        counts.iter().sum::<usize>(),
        READY.map(|n| counts[n]).iter().sum()
    );
    assert_uniform(&READY.map(|n| counts[n]));
}

#[test]
fn same_channel_in_several_arms_counts_as_several() {
    let (sender, receiver) = bounded(1);
    let (other_sender, other) = bounded(1);
    let mut counts = [0; 4];
    for _ in 0..DRAWS {
        refill(&sender, &receiver);
        refill(&other_sender, &other);
        let chosen = select! {
            recv(receiver) -> _ => 0,
            recv(receiver) -> _ => 1,
            recv(other) -> _ => 2,
            recv(receiver) -> _ => 3,
        };
        counts[chosen] += 1;
    }
    assert_uniform(&counts);
}

#[test]
fn sends_receives_closed_channels_and_points_of_time_are_alike() {
    let (sender, receiver) = bounded(1);
    let (room, drain) = bounded(1);
    let (closed, closed_receiver) = bounded::<usize>(1);
    closed.close();
    let silent = never::<u8>();
    let mut counts = [0; 5];
    for _ in 0..DRAWS {
        refill(&sender, &receiver);
        let _ = drain.try_recv();
        let chosen = select! {
            recv(silent) -> _ => unreachable!(),
            recv(receiver) -> _ => 0,
            send(room, 1) -> _ => 1,
            recv(closed_receiver) -> _ => 2,
            send(closed, 1) -> _ => 3,
            after(std::time::Duration::ZERO) => 4,
            default => unreachable!(),
        };
        counts[chosen] += 1;
    }
    assert_uniform(&counts);
}

#[test]
fn sends_to_one_channel_are_chosen_uniformly() {
    let (sender, receiver) = bounded(1);
    let mut counts = [0; 3];
    let mut slots = [Some(0), Some(1), Some(2)];
    for _ in 0..DRAWS {
        let mut arms: Vec<_> = slots
            .iter_mut()
            .map(|slot| SendArm::new(&sender, slot))
            .collect();
        let mut list = Select::new();
        for arm in &mut arms {
            list.add(arm);
        }
        let chosen = list.wait();
        counts[chosen] += 1;
        assert_eq!(receiver.recv(), Ok(chosen));
        slots[chosen] = Some(chosen);
    }
    assert_uniform(&counts);
}
