use std::process::ExitCode;

fn main() -> ExitCode {
    // A defect is a failure like any other to whoever waits for this process.
    std::panic::catch_unwind(veild::cli::main).unwrap_or(ExitCode::FAILURE)
}
