//! Chat rooms over WebSockets: heartbeats, connections that break, and nobody who misses or repeats a word.
//!
//! `cargo run --release -p gaggle-examples --bin chat [PEOPLE] [MESSAGES]`
//!
//! A message has a number in its room. Who connects says which was the last that they saw, and gets what came
//! after it; who said something says it again until they have heard it themselves, and the room passes it on
//! once. Now and then the server cuts a connection, as a bad network does.

mod support;

use bytes::Bytes;
use gaggle::chan;
use gaggle::context::{self, Context};
use gaggle_http::Server;
use gaggle_http::websocket::{self, Backoff, Options, Reconnecting, WebSocket};
use http::{Request, Response};
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Watch, argument};

type Failure = Box<dyn Error + Send + Sync>;

/// How far a member may be behind before the room lets go of it; it comes back and catches up.
const BEHIND_MAX: usize = 64;
/// After so many messages of a room one connection is cut.
const CUT_EVERY: usize = 40;

#[derive(Default)]
struct Room {
    /// All that was said; the first has the number 1.
    said: Vec<String>,
    /// What was said, to know it when it comes again.
    known: HashSet<String>,
    members: HashMap<u64, Member>,
}

struct Member {
    socket: WebSocket,
    messages: chan::Sender<String>,
}

#[derive(Clone, Default)]
struct Hub {
    rooms: Arc<Mutex<HashMap<String, Room>>>,
    last_member: Arc<Mutex<u64>>,
    cuts: Arc<AtomicUsize>,
}

impl Hub {
    /// One connection, from its first message to its end.
    fn serve(&self, socket: &WebSocket) {
        let Ok(first) = socket.recv() else { return };
        let words: Vec<_> = first.as_text().unwrap_or_default().split(' ').collect();
        let ["join", room, "after", seen] = words[..] else {
            // Whether it hears that changes nothing.
            let _ = socket.close(
                1008,
                "say first which room you join, and after which message",
            );
            return;
        };
        let seen: usize = seen.parse().unwrap_or(0);
        let (number, messages) = self.join(room, seen, socket);
        let writer = gaggle::go({
            let socket = socket.clone();
            move || {
                for message in messages.iter() {
                    if socket.send(message).is_err() {
                        return;
                    }
                }
            }
        });
        while let Ok(message) = socket.recv() {
            if let Some(text) = message.as_text().and_then(|text| text.strip_prefix("say ")) {
                self.say(room, text);
            }
        }
        self.leave(room, number);
        writer.join().expect("the writer does not panic");
    }

    /// Makes a member, which first gets what it has not seen; nothing is between that and what comes.
    fn join(&self, name: &str, seen: usize, socket: &WebSocket) -> (u64, chan::Receiver<String>) {
        let number = {
            let mut last = self.last_member.lock().expect("nothing panics under it");
            *last += 1;
            *last
        };
        let mut rooms = self.rooms.lock().expect("nothing panics under it");
        let room = rooms.entry(name.to_owned()).or_default();
        let missed = room.said.get(seen..).unwrap_or_default();
        let (messages, receiver) = chan::bounded(missed.len() + BEHIND_MAX);
        for (index, text) in missed.iter().enumerate() {
            messages
                .try_send(format!("{} {text}", seen + index + 1))
                .expect("there is room for it");
        }
        let socket = socket.clone();
        room.members.insert(number, Member { socket, messages });
        (number, receiver)
    }

    fn leave(&self, name: &str, number: u64) {
        let mut rooms = self.rooms.lock().expect("nothing panics under it");
        if let Some(room) = rooms.get_mut(name) {
            // With the sender the writer's channel ends.
            room.members.remove(&number);
        }
    }

    fn say(&self, name: &str, text: &str) {
        let mut rooms = self.rooms.lock().expect("nothing panics under it");
        let room = rooms.entry(name.to_owned()).or_default();
        if !room.known.insert(text.to_owned()) {
            return;
        }
        room.said.push(text.to_owned());
        let message = format!("{} {text}", room.said.len());
        let is_bad_moment = room.said.len().is_multiple_of(CUT_EVERY);
        let unlucky = room
            .members
            .keys()
            .next()
            .copied()
            .filter(|_| is_bad_moment);
        room.members.retain(|number, member| {
            let is_cut = unlucky == Some(*number);
            if is_cut || member.messages.try_send(message.clone()).is_err() {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                member.socket.abort();
                return false;
            }
            true
        });
    }
}

/// What a person remembers between two connections.
#[derive(Default)]
struct Memory {
    seen: usize,
    /// Said, and not heard yet.
    unheard: Option<String>,
}

/// Says `count` things, and listens until `total` have been heard; the number of connections it took.
fn person(
    url: &str,
    room: &'static str,
    name: usize,
    count: usize,
    total: usize,
) -> Result<u32, Failure> {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let options = Options::default().heartbeat(Duration::from_secs(5));
    let backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(50));
    let of_connection = Arc::clone(&memory);
    let feed = Reconnecting::new(url, options, backoff).on_connect(move |socket| {
        let memory = of_connection.lock().expect("nothing panics under it");
        socket.send(format!("join {room} after {}", memory.seen))?;
        match &memory.unheard {
            Some(text) => socket.send(format!("say {text}")),
            None => Ok(()),
        }
    });
    let context = context::background();
    let mut said = 0;
    let mut heard_own = true;
    for expected in 1..=total {
        if heard_own && said < count {
            said += 1;
            heard_own = false;
            let text = format!("{name}:{said}");
            memory.lock().expect("nothing panics under it").unheard = Some(text.clone());
            feed.send(&context, format!("say {text}"))?;
        }
        let message = feed.recv(&context)?;
        let (number, text) = message
            .as_text()
            .and_then(|text| text.split_once(' '))
            .ok_or("every message has a number")?;
        assert_eq!(
            number.parse(),
            Ok(expected),
            "none is missed, and none repeated"
        );
        let mut memory = memory.lock().expect("nothing panics under it");
        memory.seen = expected;
        if memory.unheard.as_deref() == Some(text) {
            memory.unheard = None;
            heard_own = true;
        }
    }
    assert_eq!(said, count);
    Ok(feed.connections())
}

#[gaggle::main]
fn main() -> Result<(), Failure> {
    let people: usize = argument(1, 20)?;
    let count: usize = argument(2, 20)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("ws://{}/", listener.local_addr()?);
    let (context, stop) = context::background().with_cancel();
    let hub = Hub::default();
    let serving = gaggle::go({
        let hub = hub.clone();
        let handler = move |_: &Context, request: Request<Bytes>| -> Response<Bytes> {
            let hub = hub.clone();
            websocket::accept(&request, Options::default(), move |socket| {
                hub.serve(&socket)
            })
        };
        move || Server::default().serve(listener, &context, handler)
    });

    let watch = Watch::start();
    let everybody: Vec<_> = ["geese", "swans"]
        .into_iter()
        .flat_map(|room| (0..people).map(move |name| (room, name)))
        .map(|(room, name)| {
            let url = url.clone();
            gaggle::go(move || person(&url, room, name, count, people * count))
        })
        .collect();
    let mut connections = 0;
    for one in everybody {
        connections += one.join().expect("no panic")?;
    }
    let total = 2 * people * count;
    println!("{total} messages to {people} each: {}", watch.finish());
    let cuts = hub.cuts.load(Ordering::Relaxed);
    println!(
        "{connections} connections of {} people, {cuts} cut",
        2 * people
    );
    assert!(cuts > 0, "some were cut");
    assert!(connections as usize > 2 * people, "and were made again");
    stop.cancel();
    serving.join().expect("the server does not panic")?;
    Ok(())
}
