//! Identifiers: a number inside, a prefixed text outside.
//!
//! The text carries the tag of the store that made it (a random number drawn when the database is
//! created), so that a receiver which dedupes by `webhook-id` never mistakes a message of one
//! database for that of another, and an identifier of another database is unknown, not a wrong row.

use std::fmt::Write as _;

/// The random number of one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTag(pub u64);

/// The number of an endpoint in its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub i64);

/// The number of a message in its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub i64);

/// The number of a delivery (one message to one endpoint) in its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

/// The length of the store tag in hexadecimal digits.
const TAG_DIGITS: usize = 16;

fn text(prefix: &str, tag: StoreTag, number: i64) -> String {
    let mut text = String::with_capacity(prefix.len() + TAG_DIGITS + 8);
    // Writing to a String does not fail.
    let _ = write!(text, "{prefix}{:016x}{number:x}", tag.0);
    text
}

fn number(prefix: &str, tag: StoreTag, text: &str) -> Option<i64> {
    let rest = text.strip_prefix(prefix)?;
    if !rest.is_ascii() || rest.len() <= TAG_DIGITS {
        return None;
    }
    let (found_tag, digits) = rest.split_at(TAG_DIGITS);
    let canonical = |digits: &str| {
        digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    if !canonical(found_tag) || !canonical(digits) || digits.starts_with('0') {
        return None;
    }
    if u64::from_str_radix(found_tag, 16).ok()? != tag.0 {
        return None;
    }
    i64::from_str_radix(digits, 16).ok()
}

macro_rules! identifier_text {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// The text shown outside.
            pub fn text(self, tag: StoreTag) -> String {
                text($prefix, tag, self.0)
            }

            /// The identifier of `text`; `None` where this database made no such text.
            pub fn parse(tag: StoreTag, text: &str) -> Option<Self> {
                number($prefix, tag, text).map(Self)
            }
        }
    };
}

identifier_text!(EndpointId, "ep_");
identifier_text!(MessageId, "msg_");
identifier_text!(DeliveryId, "dlv_");

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: StoreTag = StoreTag(0x0123_4567_89ab_cdef);

    #[test]
    fn text_parses_back_to_the_same_number() {
        for id in [1, 15, 16, 1 << 40, i64::MAX] {
            let text = MessageId(id).text(TAG);
            assert_eq!(MessageId::parse(TAG, &text), Some(MessageId(id)), "{text}");
        }
    }

    #[test]
    fn text_of_another_database_or_kind_is_unknown() {
        let text = EndpointId(7).text(TAG);
        assert_eq!(text, "ep_0123456789abcdef7");
        assert_eq!(EndpointId::parse(StoreTag(1), &text), None);
        assert_eq!(DeliveryId::parse(TAG, &text), None);
    }

    #[test]
    fn malformed_texts_are_unknown() {
        for bad in [
            "",
            "ep_",
            "ep_0123456789abcdef",
            "ep_0123456789abcdef07",
            "ep_0123456789abcdef+7",
            "ep_0123456789ABCDEF7",
            "ep_0123456789abcdef7 ",
            "ep_0123456789abcdefffffffffffffffffff",
            "ep_éééééééééééééééééééé",
        ] {
            assert_eq!(EndpointId::parse(TAG, bad), None, "{bad:?}");
        }
    }
}
