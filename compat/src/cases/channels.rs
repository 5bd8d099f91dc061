//! Channels of other crates.

use crate::at_once::{Failure, at_once, expect_same};

const MESSAGES: usize = 100;
const CAPACITY: usize = 16;

/// Half send, half receive; `receive` answers the sum of what it got.
fn through<S: Sync, R: Sync>(
    count: usize,
    ends: (S, R),
    send: impl Fn(&S, usize) -> Result<(), Failure> + Sync,
    receive: impl Fn(&R) -> Result<usize, Failure> + Sync,
) -> Result<(), Failure> {
    let (sender, receiver) = ends;
    let senders = count / 2;
    let sums = at_once(2 * senders, |number| {
        if number >= senders {
            return (0..MESSAGES).map(|_| receive(&receiver)).sum();
        }
        for message in 0..MESSAGES {
            send(&sender, number * MESSAGES + message)?;
        }
        Ok(0)
    })?;
    let all = senders * MESSAGES;
    expect_same(sums.into_iter().sum::<usize>(), all * (all - 1) / 2)
}

pub fn crossbeam_channel(count: usize) -> Result<(), Failure> {
    let never = crossbeam_channel::never::<usize>();
    through(
        count,
        crossbeam_channel::bounded(CAPACITY),
        |sender, value| Ok(sender.send(value)?),
        |receiver| {
            crossbeam_channel::select! {
                recv(receiver) -> value => Ok(value?),
                recv(never) -> value => Ok(value?),
            }
        },
    )
}

pub fn flume(count: usize) -> Result<(), Failure> {
    through(
        count,
        flume::bounded(CAPACITY),
        |sender, value| Ok(sender.send(value)?),
        |receiver| Ok(receiver.recv()?),
    )
}

pub fn kanal(count: usize) -> Result<(), Failure> {
    through(
        count,
        kanal::bounded(CAPACITY),
        |sender, value| Ok(sender.send(value)?),
        |receiver| Ok(receiver.recv()?),
    )
}
