//! The sender: one attempt to deliver, by [ureq](https://docs.rs/ureq), blocking and unmodified.

use super::resolver::CheckedResolver;
use crate::domain::UnixMilliseconds;
use crate::domain::address::AddressPolicy;
use crate::domain::delivery::{AttemptOutcome, Claim};
use crate::usecase::ports::Sender;
use std::io::{self, Read as _};
use std::time::{Duration, SystemTime};
use ureq::Agent;
use ureq::http::{HeaderMap, header};
use ureq::unversioned::transport::DefaultConnector;

/// The most that is read of an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// The buffers of a connection, in bytes: 10,000 connections have them at once.
const BUFFER_BYTES: usize = 4 * 1024;
/// ureq goes through all connections of an agent at each new one, under one lock; several agents
/// keep that short.
const AGENTS: usize = 16;
/// Idle connections kept by each agent.
const IDLE_MAX: usize = 128;
/// The longest reason that is kept of a failure, in characters.
const REASON_MAX: usize = 300;

/// Delivers webhooks over HTTP.
pub struct HttpSender {
    agents: Vec<Agent>,
}

impl HttpSender {
    /// A sender whose every attempt ends within `deadline`, from DNS to the last byte of the answer,
    /// and which calls only addresses that `policy` permits.
    pub fn new(policy: &AddressPolicy, deadline: Duration) -> Self {
        let agent = || {
            let config = Agent::config_builder()
                .timeout_global(Some(deadline))
                .max_redirects(0)
                .http_status_as_error(false)
                .proxy(None)
                .user_agent(concat!("courier/", env!("CARGO_PKG_VERSION")))
                .accept("*/*")
                .input_buffer_size(BUFFER_BYTES)
                .output_buffer_size(BUFFER_BYTES)
                .max_idle_connections(IDLE_MAX)
                .max_idle_connections_per_host(IDLE_MAX)
                .build();
            let resolver = CheckedResolver {
                policy: policy.clone(),
            };
            Agent::with_parts(config, DefaultConnector::default(), resolver)
        };
        Self {
            agents: std::iter::repeat_with(agent).take(AGENTS).collect(),
        }
    }
}

impl Sender for HttpSender {
    fn send(&self, claim: &Claim, message: &str, now: UnixMilliseconds) -> AttemptOutcome {
        let timestamp = now.div_euclid(1_000);
        let signature = claim.secret.sign(message, timestamp, &claim.payload);
        let agent = &self.agents[claim.endpoint.0.unsigned_abs() as usize % AGENTS];
        let answer = agent
            .post(&claim.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", message)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .send(&claim.payload[..]);
        match answer {
            Ok(mut answer) => {
                let outcome = AttemptOutcome::Answered {
                    status: answer.status().as_u16(),
                    retry_after_milliseconds: retry_after(answer.headers(), SystemTime::now()),
                };
                // The status is the answer; the body is read so that the connection can be used
                // again, and a connection whose body is too long or broken is closed.
                let mut body = answer.body_mut().as_reader().take(ANSWER_BYTES_MAX);
                let _ = io::copy(&mut body, &mut io::sink());
                outcome
            }
            Err(error) => AttemptOutcome::Failed {
                reason: error.to_string().chars().take(REASON_MAX).collect(),
            },
        }
    }
}

/// The receiver's Retry-After, seconds or a date, in milliseconds from `now`.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let delay = date.duration_since(now).unwrap_or_default();
    u64::try_from(delay.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identifier::{DeliveryId, EndpointId, MessageId};
    use crate::domain::signature::Secret;
    use std::io::Write as _;
    use std::net::TcpListener;

    fn loopback() -> AddressPolicy {
        AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()], false)
    }

    fn claim(url: String) -> Claim {
        Claim {
            delivery: DeliveryId(1),
            message: MessageId(2),
            endpoint: EndpointId(3),
            fence: 1,
            attempt: 1,
            url,
            secret: Secret::from_bytes(vec![7; 32]).unwrap(),
            payload: br#"{"a":1}"#.to_vec(),
        }
    }

    /// Answers one request with `answer`; gives back what it read.
    fn receive_once(answer: &'static str) -> (String, gaggle::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
        let receiver = gaggle::go(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.ends_with(br#"{"a":1}"#) {
                let read = stream.read(&mut buffer).unwrap();
                assert_ne!(read, 0, "the request ended early");
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (url, receiver)
    }

    fn header_of<'a>(request: &'a str, name: &str) -> &'a str {
        request
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_else(|| panic!("no {name} in {request}"))
    }

    #[test]
    fn an_attempt_is_a_signed_post_of_the_payload() {
        let (url, receiver) = receive_once("HTTP/1.1 204 No Content\r\n\r\n");
        let claim = claim(url);
        let sender = HttpSender::new(&loopback(), Duration::from_secs(20));
        let now = 1_700_000_000_999;
        let outcome = sender.send(&claim, "msg_1", now);
        let expected = AttemptOutcome::Answered {
            status: 204,
            retry_after_milliseconds: None,
        };
        assert_eq!(outcome, expected);
        let request = receiver.join().unwrap();
        assert!(
            request.starts_with("POST /hook?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert_eq!(header_of(&request, "content-type"), "application/json");
        assert_eq!(header_of(&request, "webhook-id"), "msg_1");
        let timestamp = header_of(&request, "webhook-timestamp");
        assert_eq!(timestamp, "1700000000");
        let signature = header_of(&request, "webhook-signature");
        let timestamp = timestamp.parse().unwrap();
        let payload = &claim.payload;
        let verified = claim
            .secret
            .verify("msg_1", timestamp, payload, signature, timestamp);
        assert!(verified, "{request}");
    }

    #[test]
    fn a_redirect_is_not_followed_and_retry_after_is_read() {
        let (url, receiver) = receive_once(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nRetry-After: 7\r\n\
             Content-Length: 0\r\n\r\n",
        );
        let sender = HttpSender::new(&loopback(), Duration::from_secs(20));
        let outcome = sender.send(&claim(url), "msg_1", 0);
        receiver.join().unwrap();
        let expected = AttemptOutcome::Answered {
            status: 302,
            retry_after_milliseconds: Some(7_000),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn no_more_than_the_limit_is_read_of_an_answer() {
        // It promises more than it sends: reading to the end would last until the deadline.
        const BODY: usize = ANSWER_BYTES_MAX as usize;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}",
            "x".repeat(BODY)
        );
        let (url, receiver) = receive_once(answer.leak());
        let sender = HttpSender::new(&loopback(), Duration::from_secs(3_600));
        let outcome = sender.send(&claim(url), "msg_1", 0);
        receiver.join().unwrap();
        assert!(matches!(
            outcome,
            AttemptOutcome::Answered { status: 200, .. }
        ));
    }

    #[test]
    fn a_silent_receiver_fails_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let sender = HttpSender::new(&loopback(), Duration::from_millis(50));
        let outcome = sender.send(&claim(url), "msg_1", 0);
        let AttemptOutcome::Failed { reason } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(reason.contains("timeout"), "{reason}");
    }

    #[test]
    fn private_addresses_are_refused_by_number_and_by_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let sender = HttpSender::new(&AddressPolicy::default(), Duration::from_secs(20));
        for host in ["127.0.0.1", "localhost", "[::1]", "2130706433"] {
            let outcome = sender.send(&claim(format!("http://{host}:{port}/")), "msg_1", 0);
            let AttemptOutcome::Failed { reason } = outcome else {
                panic!("{host}: {outcome:?}");
            };
            assert!(reason.contains("private or reserved"), "{host}: {reason}");
        }
        assert!(listener.accept().is_err(), "somebody connected");
    }

    #[test]
    fn retry_after_takes_seconds_and_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(120_000));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60_000));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
