//! Where the audit trail is carried.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::locate::Findings;
use super::super::raw;
use super::super::spanned::Spanned;
use super::absolute;
use crate::audit::ship::{Target, To};

const SYSLOG_TLS_PORT: u16 = 6514;
/// A healthy delivery may lag by the time between two confirmations.
const LEAST_ALERT_AFTER: Duration = Duration::from_secs(60);

pub(super) fn targets(raw: BTreeMap<String, Spanned<raw::Ship>>, findings: &mut Findings<'_>) -> Vec<Target> {
    raw.into_iter().filter_map(|(name, raw)| target(name, raw, findings)).collect()
}

fn target(name: String, raw: Spanned<raw::Ship>, findings: &mut Findings<'_>) -> Option<Target> {
    if !crate::audit::hold::is_name(&name) {
        findings.add(raw.span(), "a shipping target's name is 1 to 63 of a-z, 0-9, `-` and `_`");
    }
    let raw = raw.into_inner();
    let alert_after = raw.alert_after.as_ref().map_or(Duration::from_secs(900), |after| after.get_ref().0);
    if alert_after < LEAST_ALERT_AFTER {
        let place = raw.alert_after.as_ref().map_or(0..0, Spanned::span);
        findings.add(place, "`alert_after` must be at least 1m");
    }
    let place = raw.to.span();
    let to = match raw.to.get_ref().as_str() {
        "journald" => {
            for key in [&raw.ca, &raw.cert, &raw.key].into_iter().flatten() {
                findings.add(key.span(), "goes with `to = \"syslog+tls://…\"` only");
            }
            To::Journald
        }
        url => {
            let Some((host, port)) = url.strip_prefix("syslog+tls://").and_then(host_and_port) else {
                findings.add(place, "expected \"journald\" or \"syslog+tls://HOST:PORT\"");
                return None;
            };
            let Some(ca) = raw.ca else {
                findings.add(place, "syslog over TLS needs `ca`, a PEM file of who signs the server's certificate");
                return None;
            };
            let ca = absolute(Some(ca), "", findings);
            To::SyslogTls { host, port, ca, client: client(raw.cert, raw.key, findings) }
        }
    };
    Some(Target { name, to, alert_after })
}

fn client(
    cert: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    findings: &mut Findings<'_>,
) -> Option<(PathBuf, PathBuf)> {
    match (cert, key) {
        (Some(cert), Some(key)) => Some((absolute(Some(cert), "", findings), super::secret(Some(key), "", findings))),
        (Some(alone), None) | (None, Some(alone)) => {
            findings.add(alone.span(), "`cert` and `key` go together");
            None
        }
        (None, None) => None,
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match port {
        "" => SYSLOG_TLS_PORT,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
    };
    rustls::pki_types::ServerName::try_from(host.to_owned()).ok()?;
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_ports() {
        let parsed = |text| host_and_port(text).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(parsed("logs.example.com").as_deref(), Some("logs.example.com 6514"));
        assert_eq!(parsed("logs.example.com:10514").as_deref(), Some("logs.example.com 10514"));
        assert_eq!(parsed("[2001:db8::1]:10514").as_deref(), Some("2001:db8::1 10514"));
        assert_eq!(parsed("192.0.2.1").as_deref(), Some("192.0.2.1 6514"));
        for bad in ["", ":6514", "host:", "host:0", "host:99999", "[::1", "a b", "host/path"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
