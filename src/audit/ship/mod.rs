//! Carrying the trail elsewhere, for hosts without a shipper: each target on a thread of its own, behind the writer.
//!
//! A thread reads durable records from the segments, so nothing waits for it and nothing piles up in memory. How far a
//! target has them stands in `STATE/ship/<name>.json` ([`cursor`]), written after delivery: whatever cuts a thread off,
//! records come twice rather than not at all, and are known by their `event.id`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::follow::{Batch, Durable, Follower};
use super::{AuditError, segment};
use cursor::Cursor;
use link::Link;
pub use progress::{Delivery, Note};

mod cursor;
mod journal;
mod link;
mod progress;
mod syslog;

/// Records after which a target is asked whether it has them all.
const MOST_UNCONFIRMED: usize = 4096;
/// Time after which it is asked.
const CONFIRM_AFTER: Duration = Duration::from_secs(10);
/// Pause after a failure; it doubles with each.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where records go.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// The journal of this host, by its native protocol.
    Journald,
    /// RFC 5425: RFC 5424 messages, framed by octet counts, over TLS.
    SyslogTls {
        host: String,
        port: u16,
        /// PEM file of who signs the server's certificate.
        ca: PathBuf,
        /// PEM files of a certificate and its key, to show to the server.
        client: Option<(PathBuf, PathBuf)>,
    },
}

impl std::fmt::Display for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            To::Journald => f.write_str("journald"),
            To::SyslogTls { host, port, .. } if host.contains(':') => write!(f, "syslog+tls://[{host}]:{port}"),
            To::SyslogTls { host, port, .. } => write!(f, "syslog+tls://{host}:{port}"),
        }
    }
}

/// `[audit.ship.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: String,
    pub to: To,
    /// Records that wait for longer raise an alert.
    pub alert_after: Duration,
}

impl Target {
    /// The host that is reached by network, if one is.
    pub fn host(&self) -> Option<&str> {
        match &self.to {
            To::Journald => None,
            To::SyslogTls { host, .. } => Some(host),
        }
    }
}

/// Why records do not get through.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error(transparent)]
    Trail(#[from] AuditError),
    #[error(transparent)]
    File(#[from] crate::fsutil::PathError),
    #[error("cannot {doing} {to}: {source}")]
    Io { doing: &'static str, to: String, source: std::io::Error },
    #[error("{path}: {what}", path = .path.display())]
    Tls { path: PathBuf, what: String },
    #[error("{to} has not said that it has all: {what}")]
    Unconfirmed { to: String, what: String },
}

/// Reads what a connection needs of files, and makes none.
pub fn try_files(to: &To) -> Result<(), ShipError> {
    match to {
        To::Journald => Ok(()),
        To::SyslogTls { ca, client, .. } => syslog::config(ca, client.as_ref()).map(drop),
    }
}

/// All targets of a trail.
#[derive(Default)]
pub struct Shipping {
    deliveries: Vec<Arc<Delivery>>,
    durable: Arc<Durable>,
    ended: Vec<Receiver<()>>,
}

impl Shipping {
    /// Starts a thread for each target.
    pub fn start(targets: &[Target], dir: &Path, state: &Path, durable: Arc<Durable>) -> std::io::Result<Shipping> {
        let mut shipping = Shipping { durable: durable.clone(), ..Shipping::default() };
        for target in targets {
            let delivery = Arc::new(Delivery::new(target.clone(), durable.clone()));
            let (end, ended) = channel::<()>();
            let carrier = Carrier {
                target: target.clone(),
                dir: dir.to_owned(),
                cursor: state.join("ship").join(format!("{}.json", target.name)),
                durable: durable.clone(),
                delivery: delivery.clone(),
            };
            std::thread::Builder::new().name(format!("ship {}", target.name)).spawn(move || {
                carrier.work();
                drop(end);
            })?;
            shipping.deliveries.push(delivery);
            shipping.ended.push(ended);
        }
        Ok(shipping)
    }

    pub fn deliveries(&self) -> Vec<Arc<Delivery>> {
        self.deliveries.clone()
    }

    /// Lets every thread deliver what is left, for so long at most; the next start goes on where this one ends.
    pub fn stop(self, longest: Duration) {
        self.durable.end();
        let deadline = Instant::now() + longest;
        for ended in self.ended {
            let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now())); // it has ended, or is late
        }
    }
}

/// One target's thread.
struct Carrier {
    target: Target,
    dir: PathBuf,
    cursor: PathBuf,
    durable: Arc<Durable>,
    delivery: Arc<Delivery>,
}

impl Carrier {
    fn work(&self) {
        let mut delivered = None;
        let mut pause = crate::faults::limit("SHIP_RETRY", RETRY_AFTER);
        loop {
            let is_last = self.durable.ends();
            match self.go_on(&mut delivered) {
                Ok(()) => pause = crate::faults::limit("SHIP_RETRY", RETRY_AFTER),
                Err(error) => {
                    self.delivery.failed(&crate::fsutil::chain(&error));
                    self.durable.pause(pause);
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Delivers what there is; `delivered` is how far the target has all.
    fn go_on(&self, delivered: &mut Option<u64>) -> Result<(), ShipError> {
        let known = match *delivered {
            Some(known) => known,
            None => self.take_up()?,
        };
        *delivered = Some(known);
        let began = Instant::now();
        let until = self.durable.wait_beyond(known, crate::faults::limit("SHIP_CONFIRM", CONFIRM_AFTER));
        if until <= known {
            self.delivery.reached(known, Some(began));
            return Ok(());
        }
        let cursor = self.carry(known, until)?;
        if let Some(cursor) = cursor {
            crate::faults::point("shipped");
            cursor.save(&self.cursor)?;
            *delivered = Some(cursor.seq);
            self.delivery.reached(cursor.seq, Some(began).filter(|_| cursor.seq >= until));
        }
        Ok(())
    }

    /// Where the last run ended. A trail that does not have that record is another one, and is carried from its beginning.
    fn take_up(&self) -> Result<u64, ShipError> {
        let Some(cursor) = Cursor::load(&self.cursor)? else { return Ok(0) };
        if cursor.seq > self.durable.seq() {
            self.delivery.note(Note::OtherTrail { cursor: cursor.seq });
            return Ok(0);
        }
        match Follower::new(&self.dir, cursor.seq)?.batch(cursor.seq)? {
            Batch::Lines(lines) if lines.first().is_some_and(|(_, line)| segment::hash(line) != cursor.line_sha256) => {
                self.delivery.note(Note::OtherTrail { cursor: cursor.seq });
                Ok(0)
            }
            _ => Ok(cursor.seq),
        }
    }

    /// Sends what comes after `known`, for a while, and makes sure that it has arrived.
    fn carry(&self, known: u64, until: u64) -> Result<Option<Cursor>, ShipError> {
        let mut follower = Follower::new(&self.dir, known + 1)?;
        let mut link = Link::open(&self.target.to)?;
        let began = Instant::now();
        let confirm_after = crate::faults::limit("SHIP_CONFIRM", CONFIRM_AFTER);
        let (mut until, mut count, mut cursor) = (until, 0, None);
        loop {
            match follower.batch(until)? {
                Batch::Pruned { next } => {
                    self.delivery.note(Note::Missed { from: known.max(cursor_seq(&cursor)) + 1, to: next - 1 });
                }
                Batch::Lines(lines) => {
                    count += lines.len();
                    link.send(&lines)?;
                    cursor = lines.last().map(|(seq, line)| Cursor::at(*seq, line)).or(cursor);
                }
            }
            let is_time = count >= MOST_UNCONFIRMED || began.elapsed() >= confirm_after || self.durable.ends();
            if follower.next() > until {
                if is_time || !link.lingers() {
                    break;
                }
                until = self.durable.wait_beyond(until, confirm_after.saturating_sub(began.elapsed()));
            } else if count >= MOST_UNCONFIRMED {
                break;
            }
        }
        link.confirm()?;
        Ok(cursor)
    }
}

fn cursor_seq(cursor: &Option<Cursor>) -> u64 {
    cursor.as_ref().map_or(0, |cursor| cursor.seq)
}
