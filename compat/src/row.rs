//! One crate, and what came of it.

/// What the trial of a crate showed.
pub struct Row {
    /// The crate.
    pub name: &'static str,
    /// Its version, from the lock file.
    pub version: String,
    /// What each goroutine did.
    pub what: &'static str,
    /// The most OS threads that the process had at a time, in looks a millisecond apart.
    pub threads: usize,
    /// How often a processor went on without the OS thread of a blocking call.
    pub hand_offs: u64,
    /// How long it took, the process's start and end included.
    pub milliseconds: u128,
    /// `works`, or what did not.
    pub verdict: String,
}

/// The verdict on what did all that it was asked for.
pub const WORKS: &str = "works";

impl Row {
    /// Whether everything was right.
    pub fn works(&self) -> bool {
        self.verdict == WORKS
    }

    /// As a row of a table in Markdown.
    pub fn line(&self) -> String {
        let Row {
            name,
            version,
            what,
            threads,
            hand_offs,
            milliseconds,
            verdict,
        } = self;
        let verdict = verdict.replace('|', "/").replace('\n', " ");
        format!(
            "| `{name}` | {version} | {what} | {threads} | {hand_offs} | {milliseconds} | {verdict} |"
        )
    }
}
