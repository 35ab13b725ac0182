//! `steadfast`: parse, run, exit code. Everything else is the library's, or in `cli`.

mod cli;
#[cfg(test)]
#[path = "tests/support/mutants.rs"]
mod mutants;

fn main() -> std::process::ExitCode {
    cli::start()
}
