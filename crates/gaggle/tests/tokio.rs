//! Awaiting tokio's futures on goroutines, and goroutines on tokio.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[gaggle::test]
fn sockets_timers_and_tasks_of_tokio_work_on_goroutines() {
    let count = if gaggle::runtime::backend_name() == "green" {
        1000
    } else {
        200
    };
    let listener = gaggle::block_on(TcpListener::bind("127.0.0.1:0")).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    let accept = async move {
        for _ in 0..count {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut byte = [0];
                stream.read_exact(&mut byte).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                counter.fetch_add(1, Ordering::Relaxed);
                stream.write_all(&byte).await
            });
        }
    };
    gaggle::block_on(async { drop(tokio::spawn(accept)) });
    gaggle::scope(|scope| {
        for number in 0..count {
            scope.go(move || {
                let answer = gaggle::block_on(async {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.write_all(&[number as u8]).await?;
                    stream.read_u8().await
                });
                assert_eq!(answer.expect("an answer"), number as u8);
            });
        }
    });
    assert_eq!(served.load(Ordering::Relaxed), count);
}

#[gaggle::test]
fn a_runtime_that_was_entered_is_the_one_that_is_used() {
    let own = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let entered = own.enter();
    let seen = gaggle::block_on(async { tokio::runtime::Handle::current().id() });
    assert_eq!(seen, own.handle().id());
    drop(entered);
    let seen = gaggle::block_on(async { tokio::runtime::Handle::current().id() });
    assert_ne!(seen, own.handle().id());
}

#[gaggle::test]
fn goroutines_are_awaited_on_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (sender, receiver) = gaggle::chan::bounded(1);
    let answers = runtime.block_on(async {
        let waiting = tokio::spawn(async move { gaggle::go(move || receiver.recv()).await });
        // The one thread of this runtime is free to do what the goroutine waits for.
        tokio::task::yield_now().await;
        sender.send(7).expect("somebody receives");
        let failed = gaggle::go(|| -> () { panic!("no") }).await;
        (waiting.await.expect("no panic"), failed)
    });
    assert_eq!(answers.0.expect("no panic"), Ok(7));
    let payload = answers.1.expect_err("it panicked");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"no"));
}

#[gaggle::test]
fn a_thousand_goroutines_are_awaited_at_once_by_one_thread_of_tokio() {
    let count = if gaggle::runtime::backend_name() == "green" {
        1000
    } else {
        200
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let all_here = Arc::new(gaggle::sync::Barrier::new(count));
    let sum = runtime.block_on(async {
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..count {
            let all_here = Arc::clone(&all_here);
            let goroutine = gaggle::go(move || {
                all_here.wait();
                number
            });
            waiting.spawn(async move { goroutine.await.expect("no panic") });
        }
        waiting.join_all().await.into_iter().sum::<usize>()
    });
    assert_eq!(sum, count * (count - 1) / 2);
}
