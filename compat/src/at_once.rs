//! The same piece of work on many goroutines at once.

use socket2::{Domain, Socket, Type};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whatever went wrong, in a sentence.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs `work` on `count` goroutines, each with its number, none before all are there; answers what each
/// answered, in the order of their numbers. Blocks until all have ended.
///
/// # Errors
/// The first of theirs; that one panicked.
pub fn at_once<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let all_here = Barrier::new(count);
    // Relaxed: only which error is printed hangs on it.
    let failed = AtomicBool::new(false);
    let (all_here, work, failed) = (&all_here, &work, &failed);
    gaggle::scope(|scope| {
        let begin = |number| {
            scope.go(move || {
                all_here.wait();
                // Said at once: others may wait for what this one will not do now.
                let is_first = || !failed.swap(true, Ordering::Relaxed);
                work(number).inspect_err(|error| {
                    if is_first() {
                        eprintln!("goroutine {number}: {error}");
                    }
                })
            })
        };
        let goroutines: Vec<_> = (0..count).map(begin).collect();
        let results: Vec<_> = goroutines
            .into_iter()
            .enumerate()
            .map(|(number, goroutine)| match goroutine.join() {
                Ok(result) => result.map_err(|error| format!("goroutine {number}: {error}").into()),
                Err(payload) => Err(format!("goroutine {number}: {}", words_of(&*payload)).into()),
            })
            .collect();
        results.into_iter().collect()
    })
}

fn words_of(payload: &(dyn std::any::Any + Send)) -> String {
    let words = payload.downcast_ref::<String>().map(String::as_str);
    let words = words.or(payload.downcast_ref::<&str>().copied());
    format!("panicked: {}", words.unwrap_or("(no words)"))
}

/// That two values are the same (C2).
///
/// # Errors
/// What they are, if not.
pub fn expect_same<T: PartialEq + fmt::Debug>(found: T, expected: T) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    let shorten = |value: &T| format!("{value:?}").chars().take(200).collect::<String>();
    Err(format!("expected {}, found {}", shorten(&expected), shorten(&found)).into())
}

/// A listener on a free port at which all may knock at once. std's keeps 128 waiting; to whoever comes
/// beyond that the kernel answers late, or by a reset, on threads as on goroutines.
///
/// # Errors
/// What the operating system refuses.
pub fn listen() -> Result<TcpListener, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Raises the limit of open descriptors: each goroutine has a connection or two.
///
/// # Errors
/// When the system allows too few.
pub fn allow_many_descriptors() -> Result<(), Failure> {
    let allowed = rlimit::increase_nofile_limit(8192)?;
    if allowed < 4096 {
        return Err(format!("only {allowed} descriptors are allowed (ulimit -n)").into());
    }
    Ok(())
}
