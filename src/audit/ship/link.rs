//! A connection to a target.

use super::journal::Journal;
use super::syslog::Syslog;
use super::{ShipError, To};

/// Open to one target.
pub enum Link {
    Journal(Journal),
    Syslog(Box<Syslog>),
}

impl Link {
    pub fn open(to: &To) -> Result<Link, ShipError> {
        Ok(match to {
            To::Journald => Link::Journal(Journal::open()?),
            To::SyslogTls { .. } => Link::Syslog(Box::new(Syslog::open(to)?)),
        })
    }

    pub fn send(&mut self, lines: &[(u64, Vec<u8>)]) -> Result<(), ShipError> {
        match self {
            Link::Journal(journal) => lines.iter().try_for_each(|(seq, line)| journal.send(*seq, line)),
            Link::Syslog(syslog) => syslog.send(lines),
        }
    }

    /// Whether it is worth keeping open for more to come.
    pub fn lingers(&self) -> bool {
        matches!(self, Link::Syslog(_))
    }

    /// Returns once the target has everything that was sent.
    pub fn confirm(self) -> Result<(), ShipError> {
        match self {
            // What was sent is in the journal's own queue, which outlives journald.
            Link::Journal(_) => Ok(()),
            Link::Syslog(syslog) => syslog.confirm(),
        }
    }
}

/// What the headers of other protocols need of a record.
#[derive(serde::Deserialize)]
pub struct Head<'a> {
    #[serde(rename = "@timestamp", borrow)]
    pub at: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub event: Event<'a>,
    #[serde(borrow, default)]
    pub host: Host<'a>,
}

#[derive(serde::Deserialize)]
pub struct Event<'a> {
    pub action: &'a str,
    #[serde(default)]
    pub outcome: &'a str,
    #[serde(default)]
    pub id: &'a str,
}

#[derive(Default, serde::Deserialize)]
pub struct Host<'a> {
    #[serde(borrow, default)]
    pub name: std::borrow::Cow<'a, str>,
}

impl Head<'_> {
    /// As syslog and the journal count it.
    pub fn severity(&self) -> u8 {
        match (self.event.action, self.event.outcome) {
            ("alert.raised", _) => 3,
            (_, "failure") => 4,
            _ => 6,
        }
    }
}
