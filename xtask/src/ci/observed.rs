//! What the output of a test run says beyond its exit status.

/// Counts over all the lines of a step's output.
#[derive(Debug, Default)]
pub struct Observed {
    passed: u64,
    ignored: u64,
    skipped: Vec<String>,
}

impl Observed {
    /// Takes note of one line of output.
    pub fn line(&mut self, line: &str) {
        // A test's own line may follow the harness's `test name ... ` on the same line.
        let own = line.split_once(" ... ").map_or(line, |(_, own)| own);
        if line.starts_with("SKIP:") || own.starts_with("SKIP:") {
            self.skipped.push(line.to_string());
        }
        if let Some(counts) = line.strip_prefix("test result:") {
            self.passed += count(counts, "passed");
            self.ignored += count(counts, "ignored");
        }
    }

    /// Whether everything ran; the sentence says what did, or what did not.
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
        match (expects_tests, self.passed) {
            (false, _) => Ok(String::new()),
            (true, 0) => Err("no test ran".to_string()),
            (true, passed) => Ok(format!("{passed} tests")),
        }
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
