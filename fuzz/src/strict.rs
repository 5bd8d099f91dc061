//! A reading of HTTP/1.1 that knows one way to say each thing (RFC 9112), over bytes that are all there: what
//! the server takes for a request must be one here.

/// The most headers that a request may have, as hyper has it.
const HEADERS_MAX: usize = 100;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// What it is for, as it is written.
    pub target: String,
    /// Its body, without what it was cut into.
    pub body: Vec<u8>,
}

/// Where a head ends, and what it says of the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There are so many bytes.
    Known(usize),
    /// It comes in chunks.
    Chunked,
}

/// The requests in `bytes`, up to the first that is not whole or not right.
pub fn requests(mut bytes: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some((mut seen, length, rest)) = head(bytes) {
        let body = match length {
            Length::Known(count) if count <= rest.len() => {
                Some((rest[..count].to_vec(), &rest[count..]))
            }
            Length::Known(_) => None,
            Length::Chunked => chunks(rest),
        };
        let Some((body, rest)) = body else { break };
        seen.body = body;
        all.push(seen);
        bytes = rest;
    }
    all
}

/// A head, what follows it, and what is behind it.
pub fn head(bytes: &[u8]) -> Option<(Seen, Length, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(end)) = request.parse(bytes) else {
        return None;
    };
    // Each line ends with CR LF, and none begins with a blank.
    for line in bytes[..end].split_inclusive(|&byte| byte == b'\n') {
        let inner = line.strip_suffix(b"\r\n")?;
        if inner.contains(&b'\r') || matches!(inner.first(), Some(b' ' | b'\t')) {
            return None;
        }
    }
    let seen = Seen {
        method: request.method?.to_owned(),
        target: request.path?.to_owned(),
        body: Vec::new(),
    };
    let of = |name: &str| {
        let headers = request.headers.iter();
        headers
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
            .collect::<Vec<_>>()
    };
    let length = match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Length::Known(0),
        ([text], []) if text.iter().all(u8::is_ascii_digit) => {
            Length::Known(std::str::from_utf8(text).ok()?.parse().ok()?)
        }
        ([], [text]) if text.eq_ignore_ascii_case(b"chunked") => Length::Chunked,
        _ => return None,
    };
    Some((seen, length, &bytes[end..]))
}

/// A chunked body, and what is behind it.
pub fn chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = line(bytes)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (size, extension) = line.split_at(digits.count());
        let is_extension = extension
            .trim_ascii_start()
            .first()
            .is_none_or(|&byte| byte == b';');
        if !is_extension {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        bytes = rest;
        if size == 0 {
            break;
        }
        let data = bytes.get(..size)?;
        body.extend_from_slice(data);
        bytes = bytes[size..].strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, rest) = line(bytes)?;
        bytes = rest;
        if line.is_empty() {
            return Some((body, bytes));
        }
    }
}

/// A line without its end, and what is behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    (!line.contains(&b'\r')).then_some((line, &bytes[end + 1..]))
}
