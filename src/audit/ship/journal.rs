//! The journal of this host, by its native protocol: one datagram a record.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::ShipError;
use super::link::Head;

const SOCKET: &str = "/run/systemd/journal/socket";
/// A journal that takes nothing for so long is in trouble.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Journal {
    socket: UnixDatagram,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> ShipError {
    move |source| ShipError::Io { doing, to: "the journal".to_owned(), source }
}

impl Journal {
    pub fn open() -> Result<Journal, ShipError> {
        let socket = UnixDatagram::unbound().map_err(failed("reach"))?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(failed("reach"))?;
        socket.connect(crate::faults::place("JOURNAL", SOCKET)).map_err(failed("reach"))?;
        Ok(Journal { socket })
    }

    pub fn send(&self, seq: u64, line: &[u8]) -> Result<(), ShipError> {
        self.socket.send(&entry(seq, line)).map(drop).map_err(failed("write to"))
    }
}

/// A record as an entry: its line as it stands, and by what it is found.
fn entry(seq: u64, line: &[u8]) -> Vec<u8> {
    let head: Option<Head<'_>> = serde_json::from_slice(line).ok();
    let (severity, action, id) =
        head.as_ref().map_or((6, "", ""), |head| (head.severity(), head.event.action, head.event.id));
    let mut entry = b"MESSAGE=".to_vec();
    entry.extend_from_slice(line.trim_ascii_end());
    let fields = format!(
        "\nPRIORITY={severity}\nSYSLOG_FACILITY=13\nSYSLOG_IDENTIFIER=veild-audit\nVEILD_SEQ={seq}\nVEILD_ACTION={action}\nVEILD_ID={id}\n"
    );
    entry.extend_from_slice(fields.as_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_the_line_and_by_what_it_is_found() {
        let line = b"{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"event\":{\"action\":\"file.sealed\",\"outcome\":\"success\",\"id\":\"ab\"}}\n";
        let text = String::from_utf8(entry(7, line)).unwrap();
        assert!(text.starts_with("MESSAGE={\"@timestamp\"") && text.contains("}}\nPRIORITY=6\n"), "{text}");
        assert!(text.ends_with("VEILD_SEQ=7\nVEILD_ACTION=file.sealed\nVEILD_ID=ab\n"), "{text}");
    }
}
