//! `data/events.jsonl`, the events of the demo: made here, from a fixed seed, and held to it.
//!
//! To make it anew after a change: `COURIER_WRITE_EVENTS=1 cargo test -p courier --test events_file`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;

const EVENTS: usize = 10_000;
const CUSTOMERS: usize = 1_200;
const SEED: u64 = 20_240_229;
const BEGIN_SECONDS: u64 = 1_730_000_000;

/// Sebastiano Vigna's splitmix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn word(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        (0..length)
            .map(|_| char::from(LETTERS[self.below(LETTERS.len())]))
            .collect()
    }
}

const PRODUCTS: [&str; 6] = [
    "Starter plan",
    "Team plan",
    "Scale plan",
    "Additional seat",
    "Metered API calls",
    "Größere Datenbank – jährlich",
];
const CURRENCIES: [&str; 4] = ["usd", "eur", "gbp", "jpy"];

struct Customer {
    id: String,
    subscription: String,
    email: String,
    currency: &'static str,
}

fn lines_of_invoice(random: &mut Random, currency: &str) -> (String, usize) {
    let count = 1 + random.below(3);
    let mut lines = String::new();
    let mut total = 0;
    for index in 0..count {
        let amount = 500 + 100 * random.below(400);
        total += amount;
        let comma = if index == 0 { "" } else { "," };
        let product = random.pick(&PRODUCTS);
        let id = random.word(14);
        write!(
            lines,
            r#"{comma}{{"id":"il_{id}","amount":{amount},"currency":"{currency}","description":"{product}","quantity":{}}}"#,
            1 + random.below(9)
        )
        .unwrap();
    }
    (lines, total)
}

fn invoice(random: &mut Random, customer: &Customer, own: &str) -> (&'static str, String) {
    let Customer {
        id,
        subscription,
        currency,
        ..
    } = customer;
    let kind = random.pick(&[
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_failed",
    ]);
    let (lines, total) = lines_of_invoice(random, currency);
    (
        kind,
        format!(
            r#"{{"id":"in_{own}","object":"invoice","customer":"{id}","subscription":"{subscription}","currency":"{currency}","total":{total},"attempt_count":{},"lines":{{"object":"list","data":[{lines}]}}}}"#,
            random.below(4)
        ),
    )
}

/// The type of an event and its object.
fn object(random: &mut Random, customer: &Customer) -> (&'static str, String) {
    let Customer {
        id,
        subscription,
        email,
        currency,
    } = customer;
    let own = random.word(14);
    match random.below(12) {
        0 => {
            let kind = random.pick(&["customer.created", "customer.updated"]);
            let country = random.pick(&["DE", "FR", "US", "JP", "BR"]);
            (
                kind,
                format!(
                    r#"{{"id":"{id}","object":"customer","email":"{email}","address":{{"country":"{country}"}},"delinquent":false,"metadata":{{}}}}"#
                ),
            )
        }
        1 | 2 => {
            let kind = random.pick(&[
                "customer.subscription.created",
                "customer.subscription.updated",
                "customer.subscription.trial_will_end",
            ]);
            let status = random.pick(&["active", "trialing", "past_due"]);
            (
                kind,
                format!(
                    r#"{{"id":"{subscription}","object":"subscription","customer":"{id}","status":"{status}","cancel_at_period_end":false,"items":{{"object":"list","data":[{{"id":"si_{own}","quantity":{}}}]}}}}"#,
                    1 + random.below(50)
                ),
            )
        }
        3..=7 => invoice(random, customer, &own),
        8 | 9 => {
            let kind = random.pick(&["charge.succeeded", "charge.refunded", "charge.failed"]);
            let brand = random.pick(&["visa", "mastercard", "amex"]);
            (
                kind,
                format!(
                    r#"{{"id":"ch_{own}","object":"charge","customer":"{id}","amount":{},"currency":"{currency}","payment_method_details":{{"type":"card","card":{{"brand":"{brand}","last4":"{:04}"}}}}}}"#,
                    500 + random.below(90_000),
                    random.below(10_000)
                ),
            )
        }
        10 => {
            let kind = random.pick(&["payment_intent.succeeded", "payment_intent.canceled"]);
            (
                kind,
                format!(
                    r#"{{"id":"pi_{own}","object":"payment_intent","customer":"{id}","amount":{},"currency":"{currency}"}}"#,
                    500 + random.below(90_000)
                ),
            )
        }
        _ => {
            let note = "reconciled with the ledger; ".repeat(random.below(30));
            (
                "billing.adjustment.created",
                format!(
                    r#"{{"id":"adj_{own}","object":"adjustment","customer":"{id}","amount":-{},"currency":"{currency}","note":"{note}"}}"#,
                    random.below(5_000)
                ),
            )
        }
    }
}

fn events() -> String {
    let mut random = Random(SEED);
    let customers: Vec<Customer> = (0..CUSTOMERS)
        .map(|index| Customer {
            id: format!("cus_{}", random.word(14)),
            subscription: format!("sub_{}", random.word(14)),
            email: format!("billing{index}@example.com"),
            currency: CURRENCIES[index % CURRENCIES.len()],
        })
        .collect();
    let mut order: Vec<usize> = (0..EVENTS).map(|event| event % CUSTOMERS).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, random.below(index + 1));
    }
    let mut text = String::new();
    for (index, customer) in order.into_iter().enumerate() {
        let customer = &customers[customer];
        let id = random.word(24);
        let created = BEGIN_SECONDS + index as u64 * 3;
        let (kind, object) = object(&mut random, customer);
        writeln!(
            text,
            r#"{{"id":"evt_{id}","object":"event","api_version":"2024-06-20","created":{created},"type":"{kind}","livemode":true,"data":{{"object":{object}}}}}"#
        )
        .unwrap();
    }
    text
}

#[test]
fn the_file_is_what_its_seed_makes_and_has_the_shape_of_the_demo() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/events.jsonl");
    let made = events();
    if std::env::var_os("COURIER_WRITE_EVENTS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == made,
        "{} is not what its seed makes",
        path.display()
    );

    let mut ids = HashSet::new();
    let mut types = HashSet::new();
    let mut of_customer: HashMap<String, usize> = HashMap::new();
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(ids.insert(event["id"].as_str().unwrap().to_owned()));
        types.insert(event["type"].as_str().unwrap().to_owned());
        let object = &event["data"]["object"];
        let customer = match object["object"].as_str().unwrap() {
            "customer" => &object["id"],
            _ => &object["customer"],
        };
        *of_customer
            .entry(customer.as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(ids.len(), EVENTS);
    assert_eq!(of_customer.len(), CUSTOMERS);
    assert!(of_customer.values().all(|&count| count >= 2));
    assert!(types.len() >= 12, "{types:?}");
    let sizes: Vec<usize> = text.lines().map(str::len).collect();
    assert!(sizes.iter().max().unwrap() > &(3 * sizes.iter().min().unwrap()));
}
