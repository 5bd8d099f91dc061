//! Mail by SMTP.

use crate::at_once::{Failure, at_once, expect_same};
use crate::servers::address_of;
use lettre::{Message, SmtpTransport, Transport};
use std::net::SocketAddr;

pub fn lettre(count: usize) -> Result<(), Failure> {
    let address: SocketAddr = address_of("COMPAT_SMTP")?.parse()?;
    let transport = SmtpTransport::builder_dangerous(address.ip().to_string())
        .port(address.port())
        .build();
    at_once(count, |number| {
        let message = Message::builder()
            .from("goose@example.org".parse()?)
            .to("gander@example.org".parse()?)
            .subject(format!("flight {number}"))
            .body(format!(
                "We leave at {number}.\r\n.\r\n{}",
                "Honk. ".repeat(number % 50)
            ))?;
        // The line that is one dot is sent as two, and must arrive as one. The last line is given an end.
        let bytes = message.formatted().len() + 2;
        let answer = transport.send(&message)?;
        expect_same(answer.first_line(), Some(format!("{bytes} bytes").as_str()))
    })?;
    Ok(())
}
