//! The primitives.

use crate::plain::{Nobody, Plain, task};
use gaggle_core::chan::{self, Receiver, RecvArm, Sender};
use gaggle_core::contract::NEVER;
use gaggle_core::injector::{Injector, Link};
use gaggle_core::run_queue::RunQueue;
use gaggle_core::select::{Arm, Place, select};
use gaggle_core::sync::{RawMutex, RawRwLock, Semaphore, WaitGroup};
use gaggle_core::task::Ticket;
use gaggle_core::timer_heap::{Entry, NOT_IN_HEAP, TimerHeap, TimerNode};
use gaggle_core::word_lock::{NOBODY, WordLock};
use std::cell::Cell;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Does a primitive so many times.
type Run = fn(u64);

/// All, by name.
pub const ALL: &[(&str, Run)] = &[
    ("run_queue_push_pop", run_queue_push_pop),
    ("run_queue_push_next_pop", run_queue_push_next_pop),
    ("run_queue_steal_half_of_8", run_queue_steal),
    ("injector_push_pop", injector_push_pop),
    ("word_lock_unlock", word_lock),
    ("word_lock_unlock_biased", word_lock_biased),
    ("ticket_take_claim_ready", ticket_claim),
    ("chan_send_recv", chan_send_recv),
    ("chan_try_send_try_recv", chan_try),
    ("select_one_of_2_ready", select_2),
    ("select_one_of_8_ready", select_8),
    ("select_none_of_8_ready", select_none),
    ("mutex_lock_unlock", mutex),
    ("rwlock_read_unlock", rwlock_read),
    ("rwlock_write_unlock", rwlock_write),
    ("semaphore_acquire_release", semaphore),
    ("wait_group_add_done", wait_group),
    ("timer_arm_stop_among_1000", timer_arm_stop),
    ("timer_arm_fire_among_1000", timer_arm_fire),
];

/// What stands in queues.
struct Job {
    link: Cell<Option<NonNull<Job>>>,
}

// SAFETY: `link` is the job's own, at the same place for its whole life, and only lists use it.
unsafe impl Link for Job {
    unsafe fn next(this: NonNull<Self>) -> *const Cell<Option<NonNull<Self>>> {
        // SAFETY: the caller says that `this` is live, so the place lies in the element.
        unsafe { &raw const (*this.as_ptr()).link }
    }
}

impl Job {
    fn new() -> Self {
        Job {
            link: Cell::new(None),
        }
    }
}

fn run_queue_push_pop(count: u64) {
    let (job, queue) = (Job::new(), RunQueue::new());
    for _ in 0..count {
        // SAFETY: this thread alone uses the queue; the job outlives it and was popped before.
        let overflow = unsafe { queue.push(black_box(NonNull::from(&job))) };
        assert!(overflow.is_none());
        // SAFETY: this thread alone uses the queue.
        black_box(unsafe { queue.pop() });
    }
}

fn run_queue_push_next_pop(count: u64) {
    let (job, queue) = (Job::new(), RunQueue::new());
    for _ in 0..count {
        // SAFETY: this thread alone uses the queue; the job outlives it and was popped before.
        let overflow = unsafe { queue.push_next(black_box(NonNull::from(&job))) };
        assert!(overflow.is_none());
        // SAFETY: this thread alone uses the queue.
        black_box(unsafe { queue.pop() });
    }
}

/// Eight are pushed, half of them stolen, and all popped.
fn run_queue_steal(count: u64) {
    let jobs: [Job; 8] = std::array::from_fn(|_| Job::new());
    let (victim, thief) = (RunQueue::new(), RunQueue::new());
    for _ in 0..count {
        for job in &jobs {
            // SAFETY: this thread alone uses the queues; the jobs outlive them and are in neither.
            let overflow = unsafe { victim.push(NonNull::from(job)) };
            assert!(overflow.is_none());
        }
        // SAFETY: this thread owns both, and they are two.
        black_box(unsafe { victim.steal_into(&thief, false) });
        // SAFETY: this thread alone uses the queue.
        while let Some(popped) = unsafe { thief.pop() } {
            black_box(popped);
        }
        // SAFETY: this thread alone uses the queue.
        while let Some(popped) = unsafe { victim.pop() } {
            black_box(popped);
        }
    }
}

fn injector_push_pop(count: u64) {
    let job = Job::new();
    let injector: Injector<Job, crate::plain::PlainLock> = Injector::new();
    for _ in 0..count {
        // SAFETY: the job outlives the queue and was popped before.
        unsafe { injector.push(black_box(NonNull::from(&job))) };
        black_box(injector.pop());
    }
}

fn word_lock(count: u64) {
    let lock = WordLock::new();
    for _ in 0..count {
        black_box(&lock).lock::<Nobody>(NOBODY);
        lock.unlock::<Nobody>();
    }
}

fn word_lock_biased(count: u64) {
    let lock = WordLock::new();
    for _ in 0..count {
        black_box(&lock).lock::<Nobody>(1);
        lock.unlock::<Nobody>();
    }
}

fn ticket_claim(count: u64) {
    for _ in 0..count {
        let ticket = black_box(Ticket::<Plain>::of(task()));
        let claimed = ticket.claim(7).expect("nobody else claims it");
        claimed.ready();
        assert_eq!(ticket.token(), 7);
    }
}

fn channel() -> (Sender<u64, Plain>, Receiver<u64, Plain>) {
    chan::bounded(128)
}

fn chan_send_recv(count: u64) {
    let (sender, receiver) = channel();
    for number in 0..count {
        sender.send(black_box(number)).expect("it is open");
        assert_eq!(receiver.recv(), Ok(number));
    }
}

fn chan_try(count: u64) {
    let (sender, receiver) = channel();
    for number in 0..count {
        sender.try_send(black_box(number)).expect("it has room");
        assert_eq!(receiver.try_recv(), Ok(number));
    }
}

/// One of `N` channels has a value, each in turn.
fn select_ready<const N: usize>(count: u64) {
    let channels: [_; N] = std::array::from_fn(|_| channel());
    let mut arms = channels
        .each_ref()
        .map(|(_, receiver)| RecvArm::new(receiver));
    let mut places = [Place::default(); N];
    for number in 0..count {
        let ready = number as usize % N;
        channels[ready].0.send(number).expect("it is open");
        let list = arms.each_ref().map(|arm| arm as &dyn Arm<Plain>);
        let chosen = select(black_box(&list), &mut places, NEVER);
        assert_eq!(chosen, Some(ready));
        assert_eq!(arms[ready].take(), Ok(number));
    }
}

fn select_2(count: u64) {
    select_ready::<2>(count);
}

fn select_8(count: u64) {
    select_ready::<8>(count);
}

/// A select with a default over eight channels without a value: the exact way, with all eight locks.
fn select_none(count: u64) {
    let channels: [_; 8] = std::array::from_fn(|_| channel());
    let arms = channels
        .each_ref()
        .map(|(_, receiver)| RecvArm::new(receiver));
    let list = arms.each_ref().map(|arm| arm as &dyn Arm<Plain>);
    let mut places = [Place::default(); 8];
    for _ in 0..count {
        assert_eq!(select(black_box(&list), &mut places, 0), None);
    }
}

fn mutex(count: u64) {
    let mutex = RawMutex::<Plain>::new();
    for _ in 0..count {
        black_box(&mutex).lock();
        // SAFETY: it was just taken.
        unsafe { mutex.unlock() };
    }
}

fn rwlock_read(count: u64) {
    let lock = RawRwLock::<Plain>::new();
    for _ in 0..count {
        assert!(black_box(&lock).try_read());
        // SAFETY: it was just taken.
        unsafe { lock.unlock_read() };
    }
}

fn rwlock_write(count: u64) {
    let lock = RawRwLock::<Plain>::new();
    for _ in 0..count {
        assert!(black_box(&lock).try_write());
        // SAFETY: it was just taken.
        unsafe { lock.unlock_write() };
    }
}

fn semaphore(count: u64) {
    let semaphore = Semaphore::<Plain>::new(4);
    for _ in 0..count {
        black_box(&semaphore).acquire(1);
        semaphore.release(1);
    }
}

fn wait_group(count: u64) {
    let group = WaitGroup::<Plain>::new();
    for _ in 0..count {
        black_box(&group).add(1);
        group.done();
    }
}

/// What stands in a heap.
struct Alarm {
    index: Cell<u32>,
}

// SAFETY: `index` is the alarm's own, at the same place for its whole life, and only heaps use it.
unsafe impl TimerNode for Alarm {
    unsafe fn index_cell(this: NonNull<Self>) -> *const Cell<u32> {
        // SAFETY: the caller says that `this` is live, so the place lies in the node.
        unsafe { &raw const (*this.as_ptr()).index }
    }
}

/// How many timers are armed meanwhile.
const ARMED: usize = 1000;
/// Room for them and one more.
const ROOM: usize = ARMED + 1;

/// Lets `f` use a heap of [`ARMED`] timers with deadlines all over `0..1_000_000`, and a timer of its own.
fn with_heap(f: impl FnOnce(&mut TimerHeap<Alarm>, NonNull<Alarm>)) {
    let alarm = || Alarm {
        index: Cell::new(NOT_IN_HEAP),
    };
    let alarms: Vec<_> = std::iter::repeat_with(alarm).take(ROOM).collect();
    let mut storage = [const { MaybeUninit::<Entry<Alarm>>::uninit() }; ROOM];
    // SAFETY: the storage outlives the heap and nobody else uses it meanwhile.
    let mut heap = unsafe { TimerHeap::with_storage(NonNull::from(&mut storage).cast(), ROOM) };
    let (own, others) = alarms.split_last().expect("there are many");
    for (number, other) in others.iter().enumerate() {
        let deadline = (number as u64 * 7919) % 1000 * 1000 + 1;
        // SAFETY: the alarm outlives the heap and is in no other.
        unsafe { heap.push(deadline, NonNull::from(other)) }.expect("there is room");
    }
    f(&mut heap, NonNull::from(own));
}

/// Deadlines all over the others'.
fn deadline(number: u64) -> u64 {
    number.wrapping_mul(104_729) % 1_000_000
}

fn timer_arm_stop(count: u64) {
    with_heap(|heap, own| {
        for number in 0..count {
            // SAFETY: the alarm outlives the heap and is in no other.
            let first = unsafe { heap.push(black_box(deadline(number)), own) };
            black_box(first).expect("there is room");
            // SAFETY: it was just put in.
            assert!(unsafe { heap.remove(own) });
        }
    });
}

/// It is due before all others.
fn timer_arm_fire(count: u64) {
    with_heap(|heap, own| {
        for _ in 0..count {
            // SAFETY: the alarm outlives the heap and is in no other.
            let first = unsafe { heap.push(black_box(0), own) };
            assert_eq!(first, Ok(true));
            assert_eq!(heap.pop_due(0), Some((0, own)));
        }
    });
}
