//! Channels of three crates behind two traits, so that each workload is written once. Everything is
//! resolved at compile time.

use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// The side that sends; the channel is closed when the last one is dropped.
pub trait Sender: Clone + Send + Sync + 'static {
    /// Sends `value`, waiting for room.
    fn send(&self, value: u64) -> impl Future<Output = ()> + Send;
}

/// The side that receives.
pub trait Receiver: Send + 'static {
    /// The next value; `None` once the channel is closed and empty.
    fn receive(&mut self) -> impl Future<Output = Option<u64>> + Send;
}

/// A kind of channel.
pub trait Queue: 'static {
    /// The variant's name in the line of JSON where it says more than the command line.
    const NAME: Option<&'static str>;
    /// Its sending side.
    type Sender: Sender;
    /// Its receiving side.
    type Receiver: Receiver;
    /// A channel for `capacity` values; 0: a rendezvous, where there is one.
    fn new(capacity: usize) -> (Self::Sender, Self::Receiver);
}

/// A channel that several receive from.
pub trait SharedQueue: Queue<Receiver: Clone> {}

/// tokio's own, for one receiver; it has no rendezvous, and takes a capacity of 1 for one.
pub struct Mpsc;

impl Queue for Mpsc {
    const NAME: Option<&'static str> = Some("mpsc");
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;
    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        mpsc::channel(capacity.max(1))
    }
}

impl Sender for mpsc::Sender<u64> {
    async fn send(&self, value: u64) {
        // The inherent method, not this one.
        mpsc::Sender::send(self, value)
            .await
            .expect("somebody receives");
    }
}

impl Receiver for mpsc::Receiver<u64> {
    fn receive(&mut self) -> impl Future<Output = Option<u64>> + Send {
        self.recv()
    }
}

/// tokio's own, its receiver behind tokio's mutex, as tokio's documentation has it.
pub struct MutexMpsc;

/// The shared receiver.
#[derive(Clone)]
pub struct Locked(Arc<Mutex<mpsc::Receiver<u64>>>);

impl Queue for MutexMpsc {
    const NAME: Option<&'static str> = Some("mutex_mpsc");
    type Sender = mpsc::Sender<u64>;
    type Receiver = Locked;
    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (sender, Locked(Arc::new(Mutex::new(receiver))))
    }
}

impl SharedQueue for MutexMpsc {}

impl Receiver for Locked {
    async fn receive(&mut self) -> Option<u64> {
        self.0.lock().await.recv().await
    }
}

/// kanal's.
pub struct Kanal;

impl Queue for Kanal {
    const NAME: Option<&'static str> = None;
    type Sender = kanal::AsyncSender<u64>;
    type Receiver = kanal::AsyncReceiver<u64>;
    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        kanal::bounded_async(capacity)
    }
}

impl SharedQueue for Kanal {}

impl Sender for kanal::AsyncSender<u64> {
    async fn send(&self, value: u64) {
        kanal::AsyncSender::send(self, value)
            .await
            .expect("somebody receives");
    }
}

impl Receiver for kanal::AsyncReceiver<u64> {
    async fn receive(&mut self) -> Option<u64> {
        self.recv().await.ok()
    }
}

/// flume's.
pub struct Flume;

impl Queue for Flume {
    const NAME: Option<&'static str> = None;
    type Sender = flume::Sender<u64>;
    type Receiver = flume::Receiver<u64>;
    fn new(capacity: usize) -> (Self::Sender, Self::Receiver) {
        flume::bounded(capacity)
    }
}

impl SharedQueue for Flume {}

impl Sender for flume::Sender<u64> {
    async fn send(&self, value: u64) {
        self.send_async(value).await.expect("somebody receives");
    }
}

impl Receiver for flume::Receiver<u64> {
    async fn receive(&mut self) -> Option<u64> {
        self.recv_async().await.ok()
    }
}
