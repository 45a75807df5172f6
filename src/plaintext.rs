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

/// A panic message may quote what it was working on; where it came from says enough.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            let _ = writeln!(io::stderr(), "veild: a defect at {place}; report a bug"); // nobody may be reading
        }
    }));
}
