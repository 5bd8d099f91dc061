//! Where one request on a connection ends and the next begins, seen beside hyper, so that what others could
//! understand in another way is refused.
//!
//! A proxy in front and a server behind it that disagree about the end of a request let one client speak in
//! another's name (request smuggling). hyper is right by itself, but lenient where RFC 9112 allows it; this
//! module is not: lines end with CR LF only (2.2), no line is folded (5.2), and a request has a length or a
//! transfer coding, not both (6.1).
//!
//! - G1: a read of hyper's is given bytes of one head or of one body, never of both: so what this module
//!   takes for a head is what hyper parses as one.
//! - G2: the outcome does not depend on how the bytes are cut into reads.

/// So much of a line is kept; the two headers that matter are refused when they are longer.
const LINE_BYTES: usize = 64;
/// Digits of a chunk's size: 2^60 bytes are enough.
const SIZE_DIGITS_MAX: u32 = 15;
/// Bytes of one line in a chunked body: hyper's own limit is of this kind.
const CHUNK_LINE_BYTES: u64 = 16 * 1024;

/// A request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    Chunked(Chunk),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the line that begins with the size.
    Size {
        size: u64,
        digits: u32,
        extension: bool,
        bytes: u64,
    },
    /// In the data and the line's end behind them.
    Data(u64),
    /// In the lines behind the last chunk; how many bytes this one has, and all have.
    Trailer { line: u64, bytes: u64 },
}

const CHUNK_BEGIN: Chunk = Chunk::Size {
    size: 0,
    digits: 0,
    extension: false,
    bytes: 0,
};

/// What is known of a head before its end.
#[derive(Debug, Default)]
struct Head {
    line: Vec<u8>,
    line_bytes: usize,
    lines: usize,
    after_cr: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    pub(crate) fn new() -> Framing {
        Framing {
            state: State::Head,
            head: Head::default(),
        }
    }

    /// How many of `bytes`, of which there is at least one, may be handed on at once (G1).
    ///
    /// # Errors
    /// When they belong to a request that is refused.
    pub(crate) fn admit(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        match self.state {
            State::Head => self.admit_head(bytes),
            State::Length(left) => {
                let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.state = match left - count as u64 {
                    0 => State::Head,
                    left => State::Length(left),
                };
                Ok(count)
            }
            State::Chunked(chunk) => self.admit_chunks(chunk, bytes),
        }
    }

    fn admit_head(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut at = 0;
        loop {
            at += self.head.take_text(&bytes[at..])?;
            let Some(&byte) = bytes.get(at) else {
                return Ok(at);
            };
            at += 1;
            if self.head.take(byte)? {
                let head = std::mem::take(&mut self.head);
                self.state = match (head.length, head.chunked) {
                    (Some(_), true) => return Err(Refused),
                    (None, true) => State::Chunked(CHUNK_BEGIN),
                    (Some(1..), false) => State::Length(head.length.unwrap_or(0)),
                    _ => State::Head,
                };
                self.head.line = head.line;
                self.head.line.clear();
                return Ok(at);
            }
        }
    }

    fn admit_chunks(&mut self, mut chunk: Chunk, bytes: &[u8]) -> Result<usize, Refused> {
        let mut at = 0;
        while at < bytes.len() {
            if let Chunk::Data(left) = chunk {
                let rest = bytes.len() - at;
                let count = usize::try_from(left).map_or(rest, |left| left.min(rest));
                at += count;
                chunk = match left - count as u64 {
                    0 => CHUNK_BEGIN,
                    left => Chunk::Data(left),
                };
                continue;
            }
            match chunk.take(bytes[at])? {
                Some(next) => chunk = next,
                None => {
                    self.state = State::Head;
                    return Ok(at + 1);
                }
            }
            at += 1;
        }
        self.state = State::Chunked(chunk);
        Ok(at)
    }
}

impl Chunk {
    /// What follows a byte of a line; `None`: the body has ended. What is no chunk is left to hyper, which
    /// refuses it and reads no further.
    fn take(self, byte: u8) -> Result<Option<Chunk>, Refused> {
        match self {
            Chunk::Size {
                size,
                digits,
                extension,
                bytes,
            } => {
                if bytes > CHUNK_LINE_BYTES || digits > SIZE_DIGITS_MAX {
                    return Err(Refused);
                }
                if byte == b'\n' {
                    return Ok(Some(match size {
                        0 => Chunk::Trailer { line: 0, bytes: 0 },
                        // The data's own end of line is behind them.
                        size => Chunk::Data(size + 2),
                    }));
                }
                let digit = (byte as char).to_digit(16).filter(|_| !extension);
                Ok(Some(Chunk::Size {
                    size: digit.map_or(size, |digit| size * 16 + u64::from(digit)),
                    digits: digits + u32::from(digit.is_some()),
                    extension: extension || digit.is_none(),
                    bytes: bytes + 1,
                }))
            }
            Chunk::Data(left) => Ok(Some(Chunk::Data(left))),
            Chunk::Trailer { line, bytes } => match byte {
                b'\n' if line == 0 => Ok(None),
                _ if bytes > CHUNK_LINE_BYTES => Err(Refused),
                b'\n' => Ok(Some(Chunk::Trailer {
                    line: 0,
                    bytes: bytes + 1,
                })),
                b'\r' => Ok(Some(self)),
                _ => Ok(Some(Chunk::Trailer {
                    line: line + 1,
                    bytes: bytes + 1,
                })),
            },
        }
    }
}

impl Head {
    /// Looks at the bytes before the next one that may end a line; how many there are.
    fn take_text(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let is_end = |&byte: &u8| matches!(byte, b'\r' | b'\n');
        let count = bytes.iter().position(is_end).unwrap_or(bytes.len());
        let text = &bytes[..count];
        if let [first, ..] = text {
            let is_folded = self.line_bytes == 0 && matches!(first, b' ' | b'\t');
            if self.after_cr || is_folded && self.lines > 0 {
                return Err(Refused);
            }
            let room = LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&text[..count.min(room)]);
            self.line_bytes += count;
        }
        Ok(count)
    }

    /// Looks at a byte that may end a line; whether it is the last of the head.
    fn take(&mut self, byte: u8) -> Result<bool, Refused> {
        if byte == b'\n' {
            if !std::mem::take(&mut self.after_cr) {
                return Err(Refused);
            }
            return self.end_line();
        }
        // The CR of an end of line, behind no other.
        if std::mem::replace(&mut self.after_cr, true) {
            return Err(Refused);
        }
        Ok(false)
    }

    fn end_line(&mut self) -> Result<bool, Refused> {
        let length = std::mem::take(&mut self.line_bytes);
        if length == 0 {
            // An empty line before a request is passed over (RFC 9112, 2.2).
            return Ok(self.lines > 0);
        }
        self.lines += 1;
        if self.lines > 1 {
            let is_whole = length == self.line.len();
            self.look_at_header(is_whole)?;
        }
        self.line.clear();
        Ok(false)
    }

    /// Notes what a header says of the body's length.
    fn look_at_header(&mut self, is_whole: bool) -> Result<(), Refused> {
        // The two names have different lengths, and hardly any other header has either.
        let Some((name, value)) = split(&self.line) else {
            return Ok(());
        };
        if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(trimmed(value)).map_err(|_| Refused)?;
            // A sign, a list or nothing at all is no number of bytes.
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let length = text.parse().ok().filter(|_| is_number && is_whole);
            let length: u64 = length.ok_or(Refused)?;
            if self.length.is_some() {
                return Err(Refused);
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // The one coding that servers must know; what is before it would have to be undone.
            if !is_whole || self.chunked || !trimmed(value).eq_ignore_ascii_case(b"chunked") {
                return Err(Refused);
            }
            self.chunked = true;
        }
        Ok(())
    }
}

/// A value without the blanks around it: these two bytes, and no other that is blank elsewhere (RFC 9110, 5.6.3).
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the pieces that may be handed on, whatever the cuts.
    fn pieces(bytes: &[u8], mut cut: impl FnMut() -> usize) -> Result<Vec<usize>, Refused> {
        let mut framing = Framing::new();
        let mut ends = Vec::new();
        let (mut at, mut state) = (0, State::Head);
        while at < bytes.len() {
            let end = bytes.len().min(at.saturating_add(cut().max(1)));
            let count = framing.admit(&bytes[at..end])?;
            assert!(count > 0 && count <= end - at);
            at += count;
            let is_begin = framing.state == State::Head && framing.head.lines == 0;
            let was_head = state == State::Head;
            if was_head != (framing.state == State::Head)
                || (is_begin && framing.head.line_bytes == 0)
            {
                ends.push(at);
            }
            state = framing.state;
        }
        Ok(ends)
    }

    fn whole(text: &str) -> Result<Vec<usize>, Refused> {
        pieces(text.as_bytes(), || usize::MAX)
    }

    #[test]
    fn heads_and_bodies_are_told_apart() {
        let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let second = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        let third = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let chunks = "3;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";
        let text = format!("{first}{second}abc{third}{chunks}{first}");
        let mut expected = Vec::new();
        let mut at = 0;
        for part in [first, second, "abc", third, chunks, first] {
            at += part.len();
            expected.push(at);
        }
        assert_eq!(whole(&text), Ok(expected));
    }

    #[test]
    fn what_others_may_understand_in_another_way_is_refused() {
        for headers in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length:\r\n",
            "Content-Length: \u{a0}3\r\n",
            "Content-Length: 3\x0c\r\n",
            "Transfer-Encoding: \x0cchunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Folded: a\r\n b\r\n",
            "Folded: a\r\n\tb\r\n",
            " First: folded\r\n",
            "Bare: lf\nNext: a\r\n",
            "Bare: cr\rNext: a\r\n",
        ] {
            let text = format!("POST / HTTP/1.1\r\n{headers}\r\n");
            assert_eq!(whole(&text), Err(Refused), "{headers:?}");
        }
        assert_eq!(whole("GET / HTTP/1.1\nHost: a\n\n"), Err(Refused));
        let sizes = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n";
        assert_eq!(whole(sizes), Err(Refused));
    }

    #[test]
    fn outcome_does_not_depend_on_the_cuts() {
        let parts = [
            "GET / HTTP/1.1\r\n\r\n",
            "\r\nPOST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 12\r\n\r\n0123456789ab",
            "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nLong: 0123456789012345678901234567890123456789012345678901234567890123\r\n\r\n",
        ];
        let mut state = 12345_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for round in 0..2_000 {
            let text: String = (0..1 + random(4)).map(|_| parts[random(5)]).collect();
            let mut bytes = text.into_bytes();
            if round % 2 == 0 {
                // Anything may come.
                let at = random(bytes.len());
                bytes[at] = b"\r\n :0aA\0"[random(8)];
            }
            let all_at_once = pieces(&bytes, || usize::MAX).map(|ends| ends.last().copied());
            let in_pieces = pieces(&bytes, || 1 + random(7)).map(|ends| ends.last().copied());
            assert_eq!(
                all_at_once,
                in_pieces,
                "{:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}
