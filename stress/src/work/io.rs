//! Files and sockets.

use super::Round;
use crate::random::Random;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;

fn bytes(random: &mut Random, limit: usize) -> Vec<u8> {
    let mut bytes = vec![0; 1 + random.below(limit)];
    random.fill(&mut bytes);
    bytes
}

/// Writes a file, at times through to the disk, and reads it back.
pub fn files(_: &mut Random) -> Round {
    let mut file = tempfile::tempfile().expect("a file for the test");
    Box::new(move |random| {
        let written = bytes(random, 50_000);
        file.set_len(0).expect("the file is ours");
        file.seek(SeekFrom::Start(0)).expect("as above");
        file.write_all(&written).expect("room on the disk");
        if random.below(20) == 0 {
            file.sync_data().expect("as above");
        }
        file.seek(SeekFrom::Start(0)).expect("as above");
        let mut read = Vec::new();
        file.read_to_end(&mut read).expect("as above");
        assert!(read == written, "the file holds something else");
    })
}

/// Counts in a file that others count in, too, under its lock: a call that blocks the OS thread.
pub fn file_locks(_: &mut Random) -> Round {
    static COUNTER: LazyLock<tempfile::NamedTempFile> =
        LazyLock::new(|| tempfile::NamedTempFile::new().expect("a file for the test"));
    let mut file = File::options().read(true).write(true).open(COUNTER.path());
    let mut own = 0u64;
    let mut seen = 0u64;
    Box::new(move |_| {
        let file = file.as_mut().expect("the counter can be opened");
        file.lock().expect("a lock for writing");
        let mut number = [0; 8];
        file.seek(SeekFrom::Start(0)).expect("the file is ours");
        let length = file.read(&mut number).expect("as above");
        assert!(length == 0 || length == 8);
        let before = u64::from_le_bytes(number);
        assert!(before >= seen && before >= own, "the count went back");
        (own, seen) = (own + 1, before + 1);
        file.seek(SeekFrom::Start(0)).expect("as above");
        file.write_all(&seen.to_le_bytes()).expect("as above");
        file.unlock().expect("it is held");
    })
}

/// Sends more than the socket holds, so that both ends wait, and gets the same back.
fn exchange<S>(stream: &mut S, random: &mut Random, mut other: S)
where
    S: Read + Write + Send + 'static,
{
    let sent = bytes(random, 400_000);
    let length = sent.len();
    let writer = {
        let sent = sent.clone();
        gaggle::go(move || {
            other.write_all(&sent).expect("the echo reads");
        })
    };
    let mut echoed = vec![0; length];
    stream.read_exact(&mut echoed).expect("the echo answers");
    writer.join().expect("the writer ends");
    assert!(echoed == sent, "other bytes came back");
}

/// Sends back what comes, until the end.
fn echo(mut stream: impl Read + Write) {
    let mut buffer = vec![0; 10_000];
    loop {
        let length = stream.read(&mut buffer).expect("bytes or the end");
        if length == 0 {
            return;
        }
        stream
            .write_all(&buffer[..length])
            .expect("the partner reads");
    }
}

/// An echo over a pair of sockets.
pub fn sockets(_: &mut Random) -> Round {
    let (mut stream, far) = UnixStream::pair().expect("a pair of sockets");
    // Ends when this worker's end is closed.
    gaggle::go(move || echo(far));
    Box::new(move |random| {
        let other = stream.try_clone().expect("a descriptor");
        exchange(&mut stream, random, other);
    })
}

/// An echo over TCP; now and then with a new connection.
pub fn tcp(_: &mut Random) -> Round {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut current: Option<TcpStream> = None;
    Box::new(move |random| {
        if random.below(50) == 0
            && let Some(old) = current.take()
        {
            old.shutdown(Shutdown::Both).expect("it is connected");
        }
        let stream = current.get_or_insert_with(|| {
            let address = listener.local_addr().expect("it is bound");
            let connecting = gaggle::go(move || TcpStream::connect(address));
            let (far, _) = listener.accept().expect("somebody connects");
            gaggle::go(move || echo(far));
            let near = connecting.join().expect("no panic");
            near.expect("the listener accepts")
        });
        let other = stream.try_clone().expect("a descriptor");
        exchange(stream, random, other);
    })
}
