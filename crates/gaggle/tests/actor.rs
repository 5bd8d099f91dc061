//! Actors: one message after the other, replies or the news that none will come, and how they end.

use gaggle::actor::{self, Actor, AskError, BoxError, Handle, Own, Reply};
use gaggle::context::{self, ContextError};
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// An account that notices if two of its messages are handled at once.
#[derive(Default)]
struct Account {
    balance: i64,
    history: Vec<i64>,
    is_handling: Arc<AtomicBool>,
    was_stopped: Arc<AtomicBool>,
}

enum Message {
    Add(i64),
    Read(Reply<i64>),
    History(Reply<Vec<i64>>),
    /// Waits for others twice, so that a test knows that it is handled.
    Meet(Arc<Barrier>),
    Forget(Reply<()>),
    Keep(Reply<&'static str>),
    Fail,
    Panic,
    Stop,
}

impl Actor for Account {
    type Message = Message;

    fn handle(&mut self, message: Message, own: &Own) -> Result<(), BoxError> {
        assert!(!self.is_handling.swap(true, Ordering::SeqCst), "M1");
        match message {
            Message::Add(amount) => {
                let before = self.balance;
                gaggle::yield_now();
                self.balance = before + amount;
                self.history.push(amount);
            }
            Message::Read(reply) => reply.send(self.balance),
            Message::History(reply) => reply.send(self.history.clone()),
            Message::Meet(barrier) => {
                barrier.wait();
                barrier.wait();
            }
            Message::Forget(_reply) => {}
            Message::Keep(reply) => drop(gaggle::go(move || reply.send("from elsewhere"))),
            Message::Fail => return Err("overdrawn".into()),
            Message::Panic => panic_any(7_i32),
            Message::Stop => own.stop(),
        }
        self.is_handling.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn stopped(&mut self) {
        self.was_stopped.store(true, Ordering::SeqCst);
    }
}

type Running = gaggle::JoinHandle<Result<Account, BoxError>>;

fn open(capacity: usize) -> (Handle<Message>, Running) {
    actor::spawn(&context::background(), capacity, Account::default())
}

/// Keeps the actor busy until the barrier is met again.
fn occupy(account: &Handle<Message>) -> Arc<Barrier> {
    let barrier = Arc::new(Barrier::new(2));
    account
        .tell(Message::Meet(Arc::clone(&barrier)))
        .expect("it is open");
    barrier.wait();
    barrier
}

#[gaggle::test]
fn messages_are_handled_one_at_a_time_by_whomever_they_are_sent() {
    for capacity in [0, 1, 64] {
        let (account, running) = open(capacity);
        gaggle::scope(|scope| {
            for _ in 0..8 {
                let account = account.clone();
                scope.go(move || {
                    for _ in 0..50 {
                        account.tell(Message::Add(1)).expect("it is open");
                    }
                });
            }
        });
        assert_eq!(account.ask(Message::Read), Ok(400));
        drop(account);
        let account = running.join().expect("no panic").expect("no failure");
        assert_eq!(account.history.len(), 400);
        assert!(account.was_stopped.load(Ordering::SeqCst));
    }
}

#[test]
fn os_threads_may_tell_and_ask_too() {
    let (account, running) = open(4);
    let told = account.clone();
    let teller = std::thread::spawn(move || told.tell(Message::Add(3)).is_ok());
    assert!(teller.join().expect("no panic"));
    assert_eq!(account.ask(Message::Read), Ok(3));
    drop(account);
    assert!(running.join().expect("no panic").is_ok());
}

#[gaggle::test]
fn messages_of_one_sender_keep_their_order() {
    let (account, running) = open(2);
    for n in 0..100 {
        account.tell(Message::Add(n)).expect("it is open");
    }
    let history = account.ask(Message::History).expect("it answers");
    assert_eq!(history, (0..100).collect::<Vec<_>>());
    drop(account);
    assert!(running.join().expect("no panic").is_ok());
}

#[gaggle::test]
fn mailbox_is_bounded() {
    let (account, running) = open(2);
    let barrier = occupy(&account);
    account.try_tell(Message::Add(1)).expect("room");
    account.try_tell(Message::Add(2)).expect("room");
    assert_eq!(account.backlog(), 2);
    assert!(
        account
            .try_tell(Message::Add(3))
            .is_err_and(|error| error.is_full())
    );
    let late = account.tell_timeout(Message::Add(4), Duration::from_millis(1));
    assert!(late.is_err_and(|error| error.is_timeout()));
    barrier.wait();
    assert_eq!(account.ask(Message::Read), Ok(3));
    drop(account);
    assert!(running.join().expect("no panic").is_ok());
}

#[gaggle::test]
fn close_lets_the_mailbox_be_emptied_first() {
    let (account, running) = open(8);
    let barrier = occupy(&account);
    for _ in 0..5 {
        account.tell(Message::Add(1)).expect("it is open");
    }
    account.close();
    assert!(account.is_closed());
    assert!(account.tell(Message::Add(1)).is_err());
    assert_eq!(account.ask(Message::Read), Err(AskError::Closed));
    barrier.wait();
    let account = running.join().expect("no panic").expect("no failure");
    assert_eq!(account.balance, 5);
}

#[gaggle::test]
fn stop_ends_it_before_what_is_in_the_mailbox() {
    let (account, running) = open(8);
    let barrier = occupy(&account);
    account.tell(Message::Add(1)).expect("it is open");
    account.tell(Message::Stop).expect("it is open");
    account.tell(Message::Add(10)).expect("it is open");
    let asker = account.clone();
    let asker = gaggle::go(move || asker.ask(Message::Read));
    while account.backlog() < 4 {
        gaggle::yield_now();
    }
    barrier.wait();
    assert_eq!(asker.join().expect("no panic"), Err(AskError::NoReply));
    let account = running.join().expect("no panic").expect("no failure");
    assert_eq!(account.balance, 1);
    assert!(account.was_stopped.load(Ordering::SeqCst));
}

#[gaggle::test]
fn end_of_the_context_ends_it() {
    let (context, cancel) = context::background().with_cancel();
    let (account, running) = actor::spawn(&context, 8, Account::default());
    account.tell(Message::Add(1)).expect("it is open");
    assert_eq!(account.ask(Message::Read), Ok(1));
    cancel.cancel();
    let ended = running.join().expect("no panic").expect("no failure");
    assert!(ended.was_stopped.load(Ordering::SeqCst));
    assert!(account.is_closed());
    assert_eq!(account.ask(Message::Read), Err(AskError::Closed));
}

#[gaggle::test]
fn failure_ends_it_and_whoever_asks_hears_of_it() {
    let (account, running) = open(8);
    let barrier = occupy(&account);
    account.tell(Message::Fail).expect("it is open");
    let asker = account.clone();
    let asker = gaggle::go(move || asker.ask(Message::Read));
    while account.backlog() < 2 {
        gaggle::yield_now();
    }
    barrier.wait();
    assert_eq!(asker.join().expect("no panic"), Err(AskError::NoReply));
    let error = running.join().expect("no panic").err().expect("it failed");
    assert_eq!(error.to_string(), "overdrawn");
    assert!(account.is_closed());
}

#[gaggle::test]
fn panic_ends_it_and_goes_to_who_joins() {
    let (account, running) = open(8);
    account.tell(Message::Panic).expect("it is open");
    let payload = running.join().err().expect("it panicked");
    assert_eq!(payload.downcast_ref::<i32>(), Some(&7));
    assert_eq!(account.ask(Message::Read), Err(AskError::Closed));
}

#[gaggle::test]
fn question_that_is_dropped_is_told_so() {
    let (account, running) = open(1);
    assert_eq!(account.ask(Message::Forget), Err(AskError::NoReply));
    drop(account);
    assert!(running.join().expect("no panic").is_ok());
}

#[gaggle::test]
fn reply_may_come_from_another_goroutine() {
    let (account, running) = open(1);
    assert_eq!(account.ask(Message::Keep), Ok("from elsewhere"));
    drop(account);
    assert!(running.join().expect("no panic").is_ok());
}

#[gaggle::test]
fn ask_gives_up_at_its_time_or_context() {
    let (account, running) = open(1);
    let barrier = occupy(&account);
    let short = Duration::from_millis(1);
    // The first waits for a reply, the second for room in the mailbox.
    for _ in 0..2 {
        let late = account.ask_timeout(short, Message::Read);
        assert_eq!(late, Err(AskError::Timeout));
    }
    let (context, cancel) = context::background().with_timeout(short);
    let late = account.ask_context(&context, Message::Read);
    assert_eq!(late, Err(AskError::Ended(ContextError::DeadlineExceeded)));
    drop(cancel);
    barrier.wait();
    let context = context::background();
    assert_eq!(account.ask_context(&context, Message::Read), Ok(0));
    assert_eq!(account.ask_timeout(Duration::MAX, Message::Read), Ok(0));
    drop(account);
    assert!(running.join().expect("no panic").is_ok());
}

#[gaggle::test]
fn ask_under_a_context_that_ends_says_so() {
    let (account, running) = open(1);
    let barrier = occupy(&account);
    let ended = AskError::Ended(ContextError::DeadlineExceeded);
    let other = context::background();
    let short = || context::background().with_timeout(Duration::from_millis(1));
    let hour = Duration::from_secs(3600);
    // The first waits for a reply, the others for room in the mailbox.
    let (context, _cancel) = short();
    assert_eq!(context.run(|| account.ask(Message::Read)), Err(ended));
    let (context, _cancel) = short();
    let asked = context.run(|| account.ask_context(&other, Message::Read));
    assert_eq!(asked, Err(ended));
    let (context, _cancel) = short();
    let asked = context.run(|| account.ask_timeout(hour, Message::Read));
    assert_eq!(asked, Err(ended));
    let (context, _cancel) = short();
    assert!(context.run(|| account.tell(Message::Add(1))).is_err());
    barrier.wait();
    assert_eq!(account.ask(Message::Read), Ok(0));
    drop(account);
    assert!(running.join().expect("no panic").is_ok());
}

#[gaggle::test]
fn reply_knows_that_nobody_waits() {
    struct Slow(gaggle::chan::Receiver<()>, bool);
    impl Actor for Slow {
        type Message = Reply<u8>;
        fn handle(&mut self, reply: Reply<u8>, _: &Own) -> Result<(), BoxError> {
            self.0.recv()?;
            self.1 = reply.is_unwanted();
            reply.send(1);
            Ok(())
        }
    }
    let (go_on, wait) = gaggle::chan::unbuffered();
    let (slow, running) = actor::spawn(&context::background(), 1, Slow(wait, false));
    let late = slow.ask_timeout(Duration::from_millis(1), |reply| reply);
    assert_eq!(late, Err(AskError::Timeout));
    go_on.send(()).expect("it waits");
    drop(slow);
    assert!(running.join().expect("no panic").expect("no failure").1);
}
