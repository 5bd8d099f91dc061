//! An actor: a goroutine that owns an account; others tell it and ask it, and no lock is in sight.
//!
//! `cargo run -p gaggle-examples --bin actor`

use gaggle::actor::{self, Actor, BoxError, Own, Reply};

#[derive(Default)]
struct Account {
    cents: i64,
}

enum Message {
    Deposit(i64),
    Withdraw(i64, Reply<Result<i64, &'static str>>),
}

impl Actor for Account {
    type Message = Message;
    fn handle(&mut self, message: Message, _: &Own) -> Result<(), BoxError> {
        match message {
            Message::Deposit(cents) => self.cents += cents,
            // Nobody can come between the look and the change.
            Message::Withdraw(cents, reply) if cents > self.cents => reply.send(Err("too little")),
            Message::Withdraw(cents, reply) => {
                self.cents -= cents;
                reply.send(Ok(self.cents));
            }
        }
        Ok(())
    }
}

#[gaggle::main]
fn main() -> Result<(), BoxError> {
    let (account, running) = actor::spawn(&gaggle::context::background(), 16, Account::default());
    gaggle::scope(|scope| {
        for _ in 0..100 {
            scope.go(|| account.tell(Message::Deposit(10)).expect("it lives"));
        }
    });
    assert_eq!(account.ask(|reply| Message::Withdraw(400, reply))?, Ok(600));
    let refused = account.ask(|reply| Message::Withdraw(601, reply))?;
    println!("of 600 cents, 601: {refused:?}");
    assert_eq!(refused, Err("too little"));

    drop(account); // with the last handle the actor ends, and its state comes back
    let account = running.join().expect("no panic")?;
    assert_eq!(account.cents, 600);
    Ok(())
}
