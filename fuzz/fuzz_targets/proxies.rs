//! Addresses of proxies, the hosts that are asked directly, and addresses of requests: whom the client asks is
//! the proxy or the host, never anybody else, and no address makes it panic.

#![no_main]

use gaggle::context;
use gaggle_http::client::{Client, Proxies};
use libfuzzer_sys::fuzz_target;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (proxy, except, url) = (line(), line(), line());
    let none = Proxies::none();
    let (proxies, has_proxy) = match none
        .clone()
        .http(proxy)
        .and_then(|proxies| proxies.https(proxy))
    {
        Ok(proxies) => (proxies, true),
        Err(_) => (none, false),
    };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of_resolver = Arc::clone(&asked);
    let resolver = move |host: &str, port: u16| {
        of_resolver
            .lock()
            .expect("no panic")
            .push((host.to_owned(), port));
        Err(ErrorKind::NotFound.into())
    };
    let client = Client::builder()
        .proxies(proxies.except(except))
        .resolver(resolver)
        .build();
    let outcome = client.get(&context::background(), url);
    assert!(outcome.is_err(), "no host has an address");
    let asked = std::mem::take(&mut *asked.lock().expect("no panic"));
    let Ok(uri) = url.parse::<http::Uri>() else {
        assert!(asked.is_empty(), "an address that is none");
        return;
    };
    for (host, _) in asked {
        let is_direct = uri
            .host()
            .is_some_and(|of_uri| of_uri.trim_matches(['[', ']']) == host);
        assert!(
            is_direct || (has_proxy && proxy.contains(&host)),
            "nobody named {host}"
        );
        let all_are_direct = except.split(',').any(|name| name.trim() == "*");
        assert!(
            is_direct || !all_are_direct,
            "a proxy for what is asked directly"
        );
    }
});
