//! `steadfast report`, and the output of `steadfast flood`: writes, shows, checks and merges reports.

mod charts;
mod html;
mod plot;
mod text;
mod words;

use super::io::{complain, read_bounded, refuse};
use clap::{Args as ClapArgs, Subcommand};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use steadfast::flood::merge::merge;
use steadfast::flood::report::Report;
use steadfast::flood::verdict::Assertion;

/// An assertion does not hold.
const EXIT_BROKEN: u8 = 3;

/// The longest report that is read: a flood of a day and a half, with a row per second.
const MAX_REPORT_BYTES: u64 = 256 << 20;

/// The flags that say what to do with a report.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(super) struct OutputArgs {
    /// Write the report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the timeline to this file, second by second, as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the report to this file as an HTML page with charts, which needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Assertion, such as 'lost == 0' or 'connect.p99 < 50ms'; may be repeated; exit code 3 if it does not hold
    #[arg(long = "assert", value_name = "ASSERTION")]
    assertions: Vec<Assertion>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Merge several reports into one: shards of a flood, or repeated floods
    Merge {
        /// Reports that --json has written
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a report again, check it, or write it in another form
    Show {
        /// A report that --json has written
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub(super) fn run(args: Args) -> ExitCode {
    let (report, output) = match args.command {
        Command::Merge { files, output } => (merged(&files), output),
        Command::Show { file, output } => (read(&file), output),
    };
    // Read first: the output may overwrite a report.
    let report = match report {
        Ok(report) => report,
        Err(error) => return refuse(&error),
    };
    let phases = report.phases.iter().map(|phase| phase.name.as_str());
    if let Err(error) = output.check(phases).and_then(|()| output.try_files()) {
        return refuse(&error);
    }
    output.conclude(report)
}

fn merged(files: &[PathBuf]) -> Result<Report, String> {
    let reports = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    merge(reports).map_err(|error| {
        let file = error.report().and_then(|at| files.get(at));
        file.map_or_else(|| error.to_string(), |file| format!("{}: {error}", file.display()))
    })
}

fn read(file: &Path) -> Result<Report, String> {
    let name = file.display();
    let text = read_bounded(file, MAX_REPORT_BYTES)
        .map_err(|error| format!("{name}: {error}; name a report that --json wrote"))?;
    Report::from_json(&text).map_err(|error| format!("{name}: {error}"))
}

impl OutputArgs {
    /// Checks that assertions name only phases that exist.
    pub(super) fn check<'a>(&self, phases: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let phases: Vec<&str> = phases.collect();
        for assertion in &self.assertions {
            let checked = assertion.check(phases.iter().copied());
            checked.map_err(|error| format!("--assert {:?}: {error}", assertion.to_string()))?;
        }
        Ok(())
    }

    /// Checks that the files can be written, before the flood runs.
    pub(super) fn try_files(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (flag, path) in self.files() {
            if !seen.insert(path) {
                return Err(format!("{flag} {}: the same file is named twice; name one for each", path.display()));
            }
            fs::write(path, "")
                .map_err(|error| format!("{flag} {}: {error}; name a file that can be written", path.display()))?;
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let all = [("--json", &self.json), ("--csv", &self.csv), ("--html", &self.html)];
        all.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
    }

    /// Evaluates the assertions, writes the files and prints the table. Returns exit code 3 if an assertion does not
    /// hold, or else 1 if the flood did not succeed.
    pub(super) fn conclude(&self, mut report: Report) -> ExitCode {
        // Assertions that a report already has keep their results; those given again replace them.
        for assertion in &self.assertions {
            let verdict = assertion.judge(&report);
            report.assertions.retain(|known| known.assertion != verdict.assertion);
            report.assertions.push(verdict);
        }
        if let Err(error) = self.write(&report) {
            complain(&error);
            return ExitCode::FAILURE;
        }
        // The files are written; a closed stdout does not change the result.
        let _ = io::stdout().write_all(text::table(&report).as_bytes());
        report.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
        let broken = report.assertions.iter().filter(|verdict| !verdict.holds).inspect(|verdict| {
            complain(&format!("broken: {}: {}", verdict.assertion, words::figure(verdict)));
        });
        match (broken.count(), report.ok) {
            (1.., _) => ExitCode::from(EXIT_BROKEN),
            (_, true) => ExitCode::SUCCESS,
            (_, false) => ExitCode::FAILURE,
        }
    }

    fn write(&self, report: &Report) -> Result<(), String> {
        for (flag, path) in self.files() {
            let text = match flag {
                "--json" => {
                    serde_json::to_string_pretty(report).map(|text| text + "\n").map_err(|error| error.to_string())
                }
                "--csv" => Ok(text::csv(report)),
                _ => html::html(report).map_err(|error| error.to_string()),
            };
            text.and_then(|text| fs::write(path, text).map_err(|error| error.to_string()))
                .map_err(|error| format!("{flag} {}: {error}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../tests/cli/rendering.rs"]
mod tests;
