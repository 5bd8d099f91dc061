//! The events of the demo: one JSON object a line, with an id and a customer.

use super::Failure;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// The events that come with courier.
const EVENTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/events.jsonl"));

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Unique in the payload: by it the receiver knows the event.
    pub(super) id: String,
    pub(super) kind: String,
    /// The customer, as a number from 0.
    pub(super) key: usize,
    /// Its place among the events of its customer, from 0.
    pub(super) sequence: usize,
    pub(super) payload: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    customer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: Option<Object<'a>>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow)]
    customer: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    fn customer(self) -> Option<Cow<'a, str>> {
        let object = self.data.and_then(|data| data.object);
        object
            .and_then(|object| {
                let own = object
                    .id
                    .filter(|_| object.object.as_deref() == Some("customer"));
                object.customer.or(own)
            })
            .or(self.customer)
    }
}

/// Reads `count` events from `file`, or from those that come with courier. Where there are fewer,
/// they are repeated, each time under new ids.
pub(super) fn read(file: Option<&Path>, count: usize) -> Result<Vec<Event>, Failure> {
    match file {
        None => parse(EVENTS, count),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            parse(&text, count).map_err(|error| format!("{}: {error}", path.display()).into())
        }
    }
}

fn parse(text: &str, count: usize) -> Result<Vec<Event>, Failure> {
    let lines: Vec<(usize, &str)> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return Err("there are no events".into());
    }
    let mut keys: HashMap<String, usize> = HashMap::new();
    let mut sequences: Vec<usize> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut events = Vec::with_capacity(count);
    for index in 0..count {
        let (number, text) = lines[index % lines.len()];
        let line: Line<'_> =
            serde_json::from_str(text).map_err(|error| format!("line {number}: {error}"))?;
        let id = line.id.as_deref().map(str::to_owned);
        let id = id.ok_or_else(|| format!("line {number}: no id"))?;
        let kind = line.kind.as_deref().unwrap_or("event").to_owned();
        let customer = line.customer().map(Cow::into_owned);
        let customer = customer.ok_or_else(|| format!("line {number}: no customer"))?;
        let (id, payload) = match index / lines.len() {
            0 => (id, text.to_owned()),
            repeat => renamed(&id, repeat, text)
                .ok_or_else(|| format!("line {number}: the id is not a plain string"))?,
        };
        if let Some(other) = seen.insert(id.clone(), number) {
            return Err(format!("line {number}: the id {id} was in line {other} already").into());
        }
        let fresh = keys.len();
        let key = *keys.entry(customer).or_insert(fresh);
        if key == fresh {
            sequences.push(0);
        }
        events.push(Event {
            id,
            kind,
            key,
            sequence: sequences[key],
            payload,
        });
        sequences[key] += 1;
    }
    Ok(events)
}

/// The same event under another id.
fn renamed(id: &str, repeat: usize, text: &str) -> Option<(String, String)> {
    let new = format!("{id}_{repeat}");
    let quoted = format!("\"{id}\"");
    text.contains(&quoted).then(|| {
        (
            new.clone(),
            text.replacen(&quoted, &format!("\"{new}\""), 1),
        )
    })
}

impl Event {
    /// One event for each of `count` customers.
    pub(super) fn of_slow_receivers(count: usize) -> Vec<Self> {
        (0..count)
            .map(|key| {
                let id = format!("evt_slow{key}");
                Self {
                    kind: "receiver.slow".into(),
                    key,
                    sequence: 0,
                    payload: format!(r#"{{"id":"{id}","customer":"cus_slow{key}"}}"#),
                    id,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_that_come_with_courier_are_of_a_thousand_customers() {
        let events = read(None, 10_000).unwrap();
        assert_eq!(events.len(), 10_000);
        assert!(events.iter().map(|event| event.key).max().unwrap() >= 999);
    }

    #[test]
    fn sequences_count_the_events_of_each_customer() {
        let text = r#"{"id":"a","data":{"object":{"customer":"x"}}}
{"id":"b","customer":"y"}

{"id":"c","type":"t","data":{"object":{"object":"customer","id":"x"}}}"#;
        let events = parse(text, 7).unwrap();
        let got: Vec<_> = events
            .iter()
            .map(|event| (event.id.as_str(), event.key, event.sequence))
            .collect();
        let expected = [
            ("a", 0, 0),
            ("b", 1, 0),
            ("c", 0, 1),
            ("a_1", 0, 2),
            ("b_1", 1, 1),
            ("c_1", 0, 3),
            ("a_2", 0, 4),
        ];
        assert_eq!(got, expected);
        assert_eq!(events[2].kind, "t");
        assert!(events[3].payload.starts_with(r#"{"id":"a_1""#));
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        for (text, words) in [
            ("", "no events"),
            ("{\"id\":\"a\",\"customer\":\"x\"}\n{", "line 2"),
            ("{\"customer\":\"x\"}", "line 1: no id"),
            ("{\"id\":\"a\"}", "line 1: no customer"),
            (
                "{\"id\":\"a\",\"customer\":\"x\"}\n{\"id\":\"a\",\"customer\":\"x\"}",
                "line 2: the id a was in line 1",
            ),
        ] {
            let error = parse(text, 2).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
