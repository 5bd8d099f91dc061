//! A supervisor: an actor that fails is started again, with the state that it stored durably.
//!
//! `cargo run -p gaggle-examples --bin supervisor`

use gaggle::actor::{
    Actor, AskError, BoxError, Child, FileStore, Own, Reply, Store, Strategy, Supervisor,
};

struct Orders {
    count: u64,
    store: FileStore,
}

enum Message {
    /// Answered only when the order is stored.
    Take(&'static str, Reply<u64>),
}

impl Orders {
    fn restore(store: FileStore) -> Result<Self, BoxError> {
        let count = match store.load()? {
            Some(text) => String::from_utf8(text)?.parse()?,
            None => 0,
        };
        println!("started with {count} orders");
        Ok(Orders { count, store })
    }
}

impl Actor for Orders {
    type Message = Message;
    fn handle(&mut self, Message::Take(what, reply): Message, _: &Own) -> Result<(), BoxError> {
        self.count += 1;
        assert_ne!(what, "swan", "nobody sells swans");
        self.store.save(self.count.to_string().as_bytes())?;
        reply.send(self.count);
        Ok(())
    }
}

#[gaggle::main]
fn main() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let store = FileStore::new(folder.path().join("orders"));
    let supervisor = Supervisor::builder(Strategy::OneForOne)
        .on_failure(|failure| println!("{} failed: {}", failure.child, failure.cause))
        .start(&gaggle::context::background());
    let orders = supervisor.actor(Child::new("orders"), move || Orders::restore(store.clone()));

    assert_eq!(orders.ask(|reply| Message::Take("goose", reply))?, 1);
    assert_eq!(orders.ask(|reply| Message::Take("duck", reply))?, 2);
    // It panics with the count at 3, which was not stored: so the next one goes on from 2.
    let lost = orders.ask(|reply| Message::Take("swan", reply));
    assert_eq!(lost, Err(AskError::NoReply));
    assert_eq!(orders.ask(|reply| Message::Take("goose", reply))?, 3);

    supervisor.shutdown()?;
    assert!(orders.is_closed());
    Ok(())
}
