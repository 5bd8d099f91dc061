//! A message to the standard error for a caller that may neither allocate nor take a lock: a signal
//! handler, or an OS thread that goes down.

use crate::call::raw;
use std::fmt;

/// Bytes that one message can have; what is longer is cut.
const BYTES_MAX: usize = 1024;

/// Text on the caller's stack: written into by `write!`, then sent by one system call.
#[derive(Debug)]
pub struct Message {
    text: [u8; BYTES_MAX],
    length: usize,
}

impl Message {
    /// An empty message.
    pub const fn new() -> Self {
        Message {
            text: [0; BYTES_MAX],
            length: 0,
        }
    }

    /// What has been written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }

    /// Sends it to the standard error. It touches no errno, no lock and no memory but its own.
    pub fn send(&self) {
        let mut rest = self.as_bytes();
        while !rest.is_empty() {
            let arguments = [
                libc::STDERR_FILENO as usize,
                rest.as_ptr() as usize,
                rest.len(),
                0,
                0,
                0,
            ];
            // SAFETY: the kernel reads the bytes, which are borrowed.
            let written = unsafe { raw(libc::SYS_write, arguments) };
            match usize::try_from(written) {
                Ok(written) if written > 0 => rest = &rest[written.min(rest.len())..],
                _ if crate::call::failed_with(written, libc::EINTR) => {}
                _ => return, // nobody can be told
            }
        }
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Message {
    /// Never fails: what does not fit is left out.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.text[self.length..];
        let fits = text.len().min(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.length += fits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn a_long_text_is_cut_at_the_end() {
        let mut message = Message::new();
        let long = "x".repeat(BYTES_MAX - 2);
        let _ = write!(message, "{}{long}yz", 7);
        let text = message.as_bytes();
        assert_eq!(text.len(), BYTES_MAX);
        assert_eq!((text[0], text[BYTES_MAX - 1]), (b'7', b'y'));
    }
}
