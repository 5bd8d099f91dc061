//! What a user is.

/// An address that mail can be sent to, as far as that can be seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

impl Address {
    /// `None`: it is no address.
    pub fn parse(text: &str) -> Option<Address> {
        let (name, host) = text.trim().split_once('@')?;
        let is_one = !name.is_empty() && host.contains('.') && !host.contains(['@', ' ']);
        is_one.then(|| Address(text.trim().to_lowercase()))
    }

    /// Its letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Somebody who has been added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Given by whoever keeps them.
    pub number: i64,
    /// Nobody else has it.
    pub address: Address,
}
