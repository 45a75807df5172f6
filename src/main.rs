use std::process::ExitCode;

fn main() -> ExitCode {
    veild::cli::main()
}
