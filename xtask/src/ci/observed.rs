//! What the output of a test run says beyond its exit status.

/// What a machine may lack: a test that needs it says `skipped: NAME: why` and returns. What `.ci/run` can
/// install is not among them; a test that finds that missing says `SKIP: ...`.
const MAY_LACK: [&str; 7] = [
    "AVX2",
    "AVX-512",
    "AMX",
    "cgroup",
    "cgroup v1",
    "cgroup v2",
    "processors",
];

/// Counts over all the lines of a step's output.
#[derive(Debug, Default)]
pub struct Observed {
    passed: u64,
    ignored: u64,
    skipped: Vec<String>,
    /// What the machine lacks, each once, in the words of the first that said so.
    lacking: Vec<String>,
}

impl Observed {
    /// Takes note of one line of output.
    pub fn line(&mut self, line: &str) {
        // A test's own line may follow the harness's `test name ... ` on the same line.
        let own = line.split_once(" ... ").map_or(line, |(_, own)| own);
        if line.starts_with("SKIP:") || own.starts_with("SKIP:") {
            self.skipped.push(line.to_string());
        }
        let what = line
            .strip_prefix("skipped: ")
            .or(own.strip_prefix("skipped: "));
        if let Some(what) = what {
            self.lacks(line, what);
        }
        if let Some(counts) = line.strip_prefix("test result:") {
            self.passed += count(counts, "passed");
            self.ignored += count(counts, "ignored");
        }
    }

    /// Takes note of a line by which a test says that the machine lacks something.
    fn lacks(&mut self, line: &str, what: &str) {
        let name_of = |what: &str| what.split_once(": ").map(|(name, _)| name.to_string());
        let name = name_of(what);
        if !MAY_LACK.iter().any(|known| name.as_deref() == Some(known)) {
            self.skipped.push(line.to_string());
        } else if !self.lacking.iter().any(|other| name_of(other) == name) {
            self.lacking.push(what.to_string());
        }
    }

    /// Whether everything ran that this machine can run; the sentence says what did, or what did not.
    ///
    /// # Errors
    /// When something was skipped or ignored, or `expects_tests` and no test ran.
    pub fn verdict(&self, expects_tests: bool) -> Result<String, String> {
        if let Some(first) = self.skipped.first() {
            return Err(format!(
                "{} skipped, the first: {first}",
                self.skipped.len()
            ));
        }
        if self.ignored > 0 {
            return Err(format!("{} tests ignored", self.ignored));
        }
        let ran = match (expects_tests, self.passed) {
            (false, _) => String::new(),
            (true, 0) => return Err("no test ran".to_string()),
            (true, passed) => format!("{passed} tests"),
        };
        let separator = if ran.is_empty() { "" } else { "; " };
        Ok(match self.lacking.join("; ") {
            lacking if lacking.is_empty() => ran,
            lacking => format!("{ran}{separator}skipped: {lacking}"),
        })
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; ...`.
fn count(counts: &str, word: &str) -> u64 {
    counts
        .split(';')
        .filter_map(|part| part.trim().strip_suffix(word))
        .filter_map(|number| number.split_whitespace().last()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[&str], expects_tests: bool) -> Result<String, String> {
        let mut observed = Observed::default();
        for line in lines {
            observed.line(line);
        }
        observed.verdict(expects_tests)
    }

    const SOME: &str = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out";
    const IGNORED: &str =
        "test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out";

    #[test]
    fn passed_tests_are_added_up() {
        assert_eq!(
            verdict(&[SOME, "running 2 tests", SOME], true),
            Ok("6 tests".into())
        );
    }

    #[test]
    fn a_skipped_test_fails_the_step() {
        let skip = "SKIP: no such tool";
        assert_eq!(
            verdict(&[SOME, skip], true),
            Err(format!("1 skipped, the first: {skip}"))
        );
        assert!(verdict(&["test it ... SKIP: no such tool", SOME], true).is_err());
        assert!(verdict(&["a sentence about SKIP: lines", SOME], true).is_ok());
    }

    #[test]
    fn what_the_machine_may_lack_is_named_and_passes() {
        let lines = [
            "skipped: AMX: the processor has no tile registers",
            "test it ... skipped: AVX-512: the processor has none",
            "skipped: AMX: as before",
            SOME,
        ];
        let note = "3 tests; skipped: AMX: the processor has no tile registers; \
                    AVX-512: the processor has none";
        assert_eq!(verdict(&lines, true), Ok(note.into()));
        assert_eq!(
            verdict(&["skipped: cgroup v2: not mounted"], false),
            Ok("skipped: cgroup v2: not mounted".into())
        );
    }

    #[test]
    fn what_no_machine_may_lack_fails_the_step() {
        for line in ["skipped: gdb: there is none", "skipped: there is no AMX"] {
            assert!(verdict(&[SOME, line], true).is_err(), "{line}");
        }
        assert!(verdict(&[SOME, "three tests were skipped: none"], true).is_ok());
    }

    #[test]
    fn an_ignored_test_fails_the_step() {
        assert_eq!(verdict(&[IGNORED], true), Err("2 tests ignored".into()));
    }

    #[test]
    fn a_step_of_tests_that_ran_none_fails() {
        assert_eq!(
            verdict(&["test result: ok. 0 passed; 0 failed; 0 ignored"], true),
            Err("no test ran".into())
        );
        assert_eq!(verdict(&[], false), Ok(String::new()));
    }
}
