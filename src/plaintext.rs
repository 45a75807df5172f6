//! What a process does before it reads plaintext or keys: no core dump of it is written, and no panic message quotes it.

use std::io::{self, Write};

/// Guards this process for as long as it lives. To be called before another thread starts.
pub fn guard() -> io::Result<()> {
    forbid_core_dumps()?;
    silence_panics();
    Ok(())
}

/// No core file is written of this process and its children. A piped core pattern ignores that: only an undumpable process
/// leaves nothing there either, and cannot be traced.
pub fn forbid_core_dumps() -> io::Result<()> {
    rlimit::setrlimit(rlimit::Resource::CORE, 0, 0)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// A panic message may quote what it was working on; where it came from says enough. One that says that standard output
/// takes nothing more is no defect: `println!` has no other way to say so.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let said =
            panic.payload().downcast_ref::<String>().and_then(|said| said.strip_prefix("failed printing to stdout: "));
        let line = match (said, panic.location()) {
            (Some(error), _) => format!("cannot write to standard output: {error}"),
            (None, Some(place)) => format!("a defect at {place}; report a bug"),
            (None, None) => return,
        };
        let _ = writeln!(io::stderr(), "veild: {line}"); // nobody may be reading
    }));
}
