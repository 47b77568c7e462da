//! Counting tests in what a test runner prints.

use std::fmt;

/// How many tests have run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
}

impl Tally {
    /// Reads a piece of output.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.read_line(&String::from_utf8_lossy(&line));
            }
        }
    }

    /// A result is a line such as `test result: ok. 5 passed; 0 failed; 2 ignored; ...`, the `ok` perhaps in colour.
    fn read_line(&mut self, line: &str) {
        if let Some(result) = line.trim_start().strip_prefix("test result: ") {
            self.passed += number_before(result, " passed;");
            self.failed += number_before(result, " failed;");
        }
    }

    /// Whether the output has stopped before the end of a line.
    pub(crate) fn is_inside_a_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// How many have run.
    pub(crate) fn ran(&self) -> usize {
        self.passed + self.failed
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text
        .split(word)
        .next()
        .filter(|before| before.len() < text.len());
    before
        .and_then(|before| before.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_results_however_they_come_in() {
        let mut tally = Tally::default();
        let output = "test a ... ok\n\ntest result: \x1b[32mok\x1b[m. 5 passed; 0 failed; 2 ignored; 0 measured\n\
                      test result: FAILED. 1 passed; 3 failed; 0 ignored\n";
        for byte in output.as_bytes() {
            tally.read(&[*byte]);
        }
        assert_eq!((tally.passed, tally.failed, tally.ran()), (6, 3, 9));
        assert_eq!(tally.to_string(), "6 passed, 3 failed");
    }

    #[test]
    fn other_lines_count_for_nothing() {
        let mut tally = Tally::default();
        tally.read(b"12 passed; 3 failed;\ntest result: none\n");
        assert_eq!(tally.ran(), 0);
    }
}
