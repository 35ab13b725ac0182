//! `steadfast`: parse, run, exit code. Everything else is the library's, or in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
