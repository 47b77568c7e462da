//! What was measured: read from what the program prints, kept in a file, and read back from one.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::machines::Clock;
use crate::error::{Doing, Error, Result};

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results {
    /// In the order in which they were measured.
    pub(crate) cases: Vec<Case>,
    /// What was counted, and has to be a certain number.
    pub(crate) counts: Vec<Count>,
    /// The instructions that programs execute themselves.
    pub(crate) steps: Vec<Steps>,
}

/// A case, on one machine and by one clock.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// The architecture of the machine.
    pub(crate) arch: String,
    /// Its clock.
    pub(crate) clock: String,
    /// What was measured.
    pub(crate) name: String,
    /// Whether its ratio is judged.
    pub(crate) gate: bool,
    /// The plain loop.
    pub(crate) raw: Option<Figure>,
    /// The SDK.
    pub(crate) sdk: Option<Figure>,
}

/// One figure: nanoseconds, or instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// How often memory was allocated in all.
    pub(crate) allocations: u64,
}

/// By how much a median may be more than the least, where time passes.
const STEADY: f64 = 1.2;

/// How many there were of something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Count {
    pub(crate) arch: String,
    pub(crate) case: String,
    pub(crate) what: String,
    pub(crate) count: u64,
    pub(crate) wanted: u64,
}

/// How many instructions a program executes itself, without the kernel's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Steps {
    pub(crate) case: String,
    pub(crate) all: u64,
    /// Those of the ledger.
    pub(crate) ledger: u64,
}

impl Case {
    /// How much the SDK takes of what the loop takes; `None` if one of the two was now this and now that.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (raw, sdk) = (self.raw?, self.sdk?);
        let steady = self.is_counted() || [raw, sdk].iter().all(Figure::is_steady);
        steady.then(|| self.value(sdk) / self.value(raw))
    }

    fn is_counted(&self) -> bool {
        self.clock == Clock::Counted.name()
    }

    /// What a figure is taken to be: where instructions are counted the median; where time passes, in which others run as
    /// well, the least.
    pub(crate) fn value(&self, figure: Figure) -> f64 {
        if self.is_counted() {
            figure.median
        } else {
            figure.low
        }
    }

    /// Whether it is the same case, in another run.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (&self.arch, &self.clock, &self.name) == (&other.arch, &other.clock, &other.name)
    }
}

impl Figure {
    /// Whether most samples are hardly more than the least.
    fn is_steady(&self) -> bool {
        self.median <= STEADY * self.low
    }
}

impl Results {
    /// Adds what the program has printed on a machine.
    pub(crate) fn add(&mut self, arch: &str, clock: &str, printed: &str) -> Result<()> {
        for line in printed.lines() {
            if let Some(text) = line.trim().strip_prefix("@bench ") {
                self.add_figure(arch, clock, &parsed(text)?)?;
            } else if let Some(text) = line.trim().strip_prefix("@count ") {
                let line = parsed(text)?;
                self.counts.push(Count {
                    arch: arch.to_owned(),
                    case: text_of(&line, "case")?,
                    what: text_of(&line, "what")?,
                    count: number_of(&line, "count")? as u64,
                    wanted: number_of(&line, "wanted")? as u64,
                });
            }
        }
        Ok(())
    }

    fn add_figure(&mut self, arch: &str, clock: &str, line: &Value) -> Result<()> {
        let case = Case {
            arch: arch.to_owned(),
            clock: clock.to_owned(),
            name: text_of(line, "case")?,
            gate: false,
            raw: None,
            sdk: None,
        };
        let at = match self.cases.iter().position(|other| other.is(&case)) {
            Some(at) => at,
            None => {
                self.cases.push(case);
                self.cases.len() - 1
            }
        };
        let case = &mut self.cases[at];
        let figure = Some(figure(line)?);
        case.gate |= line["gate"] == true;
        match text_of(line, "side")?.as_str() {
            "raw" => case.raw = figure,
            _ => case.sdk = figure,
        }
        Ok(())
    }

    /// Keeps them.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let figure = |figure: Figure| {
            json!({
                "median": figure.median,
                "low": figure.low,
                "high": figure.high,
                "allocations": figure.allocations,
            })
        };
        // A case is a line, so that what has changed is seen in a difference.
        let case = |case: &Case| {
            json!({
                "arch": case.arch,
                "clock": case.clock,
                "case": case.name,
                "gate": case.gate,
                "raw": case.raw.map(figure),
                "sdk": case.sdk.map(figure),
            })
            .to_string()
        };
        let count = |count: &Count| {
            json!({
                "arch": count.arch,
                "case": count.case,
                "what": count.what,
                "count": count.count,
                "wanted": count.wanted,
            })
            .to_string()
        };
        let steps = |steps: &Steps| {
            json!({ "case": steps.case, "all": steps.all, "ledger": steps.ledger }).to_string()
        };
        let lines = |lines: Vec<String>| lines.join(",\n");
        let text = format!(
            "{{\n\"cases\": [\n{}\n],\n\"counts\": [\n{}\n],\n\"steps\": [\n{}\n]\n}}\n",
            lines(self.cases.iter().map(case).collect()),
            lines(self.counts.iter().map(count).collect()),
            lines(self.steps.iter().map(steps).collect()),
        );
        fs::write(path, text).doing(|| format!("cannot write {}", path.display()))
    }

    /// Reads what was kept.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).doing(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
            .map_err(|error| error.because(format!("{} is no file of results", path.display())))
    }

    fn parse(text: &str) -> Result<Self> {
        let all = parsed(text)?;
        let list = |name: &str| all[name].as_array().cloned().unwrap_or_default();
        let side = |value: &Value| (!value.is_null()).then(|| figure(value)).transpose();
        let case = |value: &Value| {
            Ok(Case {
                arch: text_of(value, "arch")?,
                clock: text_of(value, "clock")?,
                name: text_of(value, "case")?,
                gate: value["gate"] == true,
                raw: side(&value["raw"])?,
                sdk: side(&value["sdk"])?,
            })
        };
        let count = |value: &Value| {
            Ok(Count {
                arch: text_of(value, "arch")?,
                case: text_of(value, "case")?,
                what: text_of(value, "what")?,
                count: number_of(value, "count")? as u64,
                wanted: number_of(value, "wanted")? as u64,
            })
        };
        let steps = |value: &Value| {
            Ok(Steps {
                case: text_of(value, "case")?,
                all: number_of(value, "all")? as u64,
                ledger: number_of(value, "ledger")? as u64,
            })
        };
        Ok(Self {
            cases: list("cases").iter().map(case).collect::<Result<_>>()?,
            counts: list("counts").iter().map(count).collect::<Result<_>>()?,
            steps: list("steps").iter().map(steps).collect::<Result<_>>()?,
        })
    }
}

/// What a line, or a file, says.
pub(crate) fn parsed(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        Error::new("a result that cannot be read")
            .because(error)
            .because(text.chars().take(200).collect::<String>())
    })
}

fn figure(value: &Value) -> Result<Figure> {
    Ok(Figure {
        median: number_of(value, "median")?,
        low: number_of(value, "low")?,
        high: number_of(value, "high")?,
        allocations: number_of(value, "allocations")? as u64,
    })
}

fn lacks(value: &Value, name: &str) -> Error {
    Error::new(format!("a result has no {name}")).because(value)
}

pub(crate) fn text_of(value: &Value, name: &str) -> Result<String> {
    let text = value[name].as_str().map(str::to_owned);
    text.ok_or_else(|| lacks(value, name))
}

fn number_of(value: &Value, name: &str) -> Result<f64> {
    value[name].as_f64().ok_or_else(|| lacks(value, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "noise\n\
        @bench {\"case\":\"a\",\"side\":\"raw\",\"median\":100.5,\"low\":99,\"high\":101,\"allocations\":0,\"gate\":false}\r\n\
        @bench {\"case\":\"a\",\"side\":\"sdk\",\"median\":201,\"low\":200,\"high\":202,\"allocations\":3,\"gate\":true}\n\
        @count {\"case\":\"a\",\"what\":\"ioctls\",\"count\":2,\"wanted\":1}\n";

    #[test]
    fn what_is_printed_is_read_kept_and_read_back() {
        let mut results = Results::default();
        results.add("x86_64", "counted", PRINTED).unwrap();
        results.add("x86_64", "real", PRINTED).unwrap();
        assert_eq!(results.cases.len(), 2);
        assert_eq!(results.cases[0].ratio(), Some(2.0));
        assert!(results.cases[0].gate);
        assert_eq!(results.counts[1].count, 2);
        results.steps.push(Steps {
            case: "a".to_owned(),
            all: 7,
            ledger: 3,
        });
        let path = std::env::temp_dir().join(format!("lab-results-{}", std::process::id()));
        results.write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn time_that_is_not_steady_makes_no_ratio() {
        let mut results = Results::default();
        results.add("x86_64", "real", PRINTED).unwrap();
        let case = &mut results.cases[0];
        assert_eq!(case.ratio(), Some(200.0 / 99.0), "of the least");
        case.raw = case.raw.map(|raw| Figure { low: 80.0, ..raw });
        assert_eq!(case.ratio(), None);
        case.clock = "counted".to_owned();
        assert_eq!(case.ratio(), Some(2.0), "of the medians");
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        let mut results = Results::default();
        for line in [
            "@bench {",
            "@bench {}",
            "@bench {\"case\":\"a\"}",
            "@count {}",
        ] {
            assert!(results.add("a", "b", line).is_err(), "{line}");
        }
        assert!(Results::parse("{\"cases\":[{}]}").is_err());
    }
}
