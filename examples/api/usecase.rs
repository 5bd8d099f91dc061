//! What can be done with users, and the port that it needs.

use crate::domain::{Address, User};
use gaggle::context::Context;

/// Why something was not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// That is no address.
    NoAddress,
    /// Somebody has it.
    Known,
    /// The store failed, or the context ended.
    Store(String),
}

/// Keeps users.
pub trait UserStore: Send + Sync {
    /// Adds one; [`Refusal::Known`]: somebody has that address.
    fn add(&self, context: &Context, address: &Address) -> Result<User, Refusal>;
    /// All, in the order of their numbers.
    fn all(&self, context: &Context) -> Result<Vec<User>, Refusal>;
}

/// The use cases.
pub struct Users<S>(S);

impl<S: UserStore> Users<S> {
    pub fn new(store: S) -> Self {
        Users(store)
    }

    /// Adds a user with what somebody typed.
    pub fn register(&self, context: &Context, typed: &str) -> Result<User, Refusal> {
        let address = Address::parse(typed).ok_or(Refusal::NoAddress)?;
        self.0.add(context, &address)
    }

    /// Everybody.
    pub fn list(&self, context: &Context) -> Result<Vec<User>, Refusal> {
        self.0.all(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle::context::background;
    use std::sync::Mutex;

    #[derive(Default)]
    struct InMemory(Mutex<Vec<User>>);

    impl UserStore for InMemory {
        fn add(&self, _: &Context, address: &Address) -> Result<User, Refusal> {
            let mut users = self.0.lock().unwrap();
            if users.iter().any(|user| user.address == *address) {
                return Err(Refusal::Known);
            }
            let (number, address) = (users.len() as i64 + 1, address.clone());
            users.push(User { number, address });
            Ok(users[users.len() - 1].clone())
        }

        fn all(&self, _: &Context) -> Result<Vec<User>, Refusal> {
            Ok(self.0.lock().unwrap().clone())
        }
    }

    #[test]
    fn an_address_is_taken_once_however_it_is_written() {
        let (users, context) = (Users::new(InMemory::default()), background());
        assert_eq!(
            users
                .register(&context, " Nils@example.org")
                .unwrap()
                .number,
            1
        );
        assert_eq!(
            users.register(&context, "nils@EXAMPLE.org"),
            Err(Refusal::Known)
        );
        assert_eq!(users.list(&context).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let users = Users::new(InMemory::default());
        for typed in ["", "nils", "@example.org", "nils@home", "a@b.c@d"] {
            assert_eq!(
                users.register(&background(), typed),
                Err(Refusal::NoAddress),
                "{typed}"
            );
        }
    }
}
