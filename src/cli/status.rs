//! `veild status`: is all well, and if not, what is to be done?

use std::fmt::Write;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Problems;
use crate::config::Config;
use crate::daemon::{control, event::Request, places::readable};
use crate::fsutil::{MAX_NAMED_BYTES, read_named};
use crate::keys::{KeySource, MaskingKeys};
use crate::quarantine;

#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all is well; 1 no daemon runs, or it does not answer; 3 something needs attention"
)]
pub struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    // A daemon that refused a broken file at a reload still runs: that is when one asks.
    let state_dir = Config::state_dir(config)?;
    let Some(mut status) = control::ask(&state_dir, &Request::Status)? else {
        let waiting = quarantined(&state_dir)["files"].as_u64().filter(|files| *files > 0);
        let waiting = waiting.map_or(String::new(), |count| format!(", {} in quarantine", files(count)));
        anyhow::bail!(
            "no veild runs on {}{waiting}; start it with `systemctl start veild` or `veild run`",
            state_dir.display()
        );
    };
    status["quarantine"] = quarantined(&state_dir);
    status["config_on_disk"] = json!(config_on_disk(&status));
    status["masking_key"]["waiting_version"] = json!(key_waiting(&status));
    if arguments.json {
        super::print_json(&status)?;
    } else {
        print!("{}", render(&status));
    }
    // The verdict stands at the top of the answer.
    if status["well"] == true { Ok(()) } else { Err(Problems(String::new()).into()) }
}

/// The daemon does not look into its quarantine; the operators' answer to it is not its state.
fn quarantined(state_dir: &Path) -> Value {
    match quarantine::jobs(&state_dir.join("quarantine")) {
        Ok(jobs) => json!({"files": jobs.len(), "since": jobs.first().map(|job| job.claim_time())}),
        Err(_) => Value::Null, // another user's; `veild quarantine list` says so
    }
}

/// Whether the file holds what the daemon runs with.
fn config_on_disk(status: &Value) -> &'static str {
    let Some(text) = status["config"].as_str().and_then(|path| read_named(Path::new(path), MAX_NAMED_BYTES).ok())
    else {
        return "unreadable";
    };
    let sha256: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    if status["config_sha256"] == sha256 { "in force" } else { "changed" }
}

/// The version of the masking key that its file has in force and the daemon does not know; `None` also where this user may
/// not read it.
fn key_waiting(status: &Value) -> Option<u32> {
    let config = Config::load(Path::new(status["config"].as_str()?)).ok()?;
    let KeySource::File(path) = &config.keys.masking else { return None };
    let (version, fingerprint) = MaskingKeys::load(path).ok()?.in_force();
    (status["masking_key"]["fingerprint"].is_string() && status["masking_key"]["fingerprint"] != fingerprint)
        .then_some(version)
}

fn render(status: &Value) -> String {
    let mut out = String::new();
    let written = verdict(status, &mut out).and_then(|()| details(status, &mut out));
    written.expect("a String takes every text");
    out
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn verdict(status: &Value, out: &mut String) -> std::fmt::Result {
    let now = time(&status["at"]).unwrap_or_default();
    let (wrong, notes): (Vec<&Value>, Vec<&Value>) =
        list(&status["alerts"]).partition(|alert| alert["level"] == "error");
    match wrong.len() {
        _ if status["stopping"] == true => writeln!(out, "veild is stopping.")?,
        0 => writeln!(out, "All is well.")?,
        1 => writeln!(out, "1 thing needs attention:")?,
        count => writeln!(out, "{count} things need attention:")?,
    }
    for alert in &wrong {
        write_alert(alert, now, out)?;
    }
    if !notes.is_empty() {
        writeln!(out, "To know:")?;
    }
    for alert in notes {
        write_alert(alert, now, out)?;
    }
    Ok(())
}

fn write_alert(alert: &Value, now: Timestamp, out: &mut String) -> std::fmt::Result {
    write!(out, "  {}", text(&alert["code"]))?;
    if let Some(of) = alert["of"].as_str() {
        write!(out, ", {of}")?;
    }
    if let Some(since) = time(&alert["since"]) {
        write!(out, ", since {} ago", age(now, since))?;
    }
    if let Some(times) = alert["times"].as_u64().filter(|times| *times > 1) {
        write!(out, ", {times} times, last {} ago", time(&alert["last"]).map_or_else(String::new, |at| age(now, at)))?;
    }
    writeln!(out, "\n    {}", text(&alert["what"]))?;
    match alert["advice"].as_str() {
        Some(advice) => writeln!(out, "    what to do: {advice}"),
        None => Ok(()),
    }
}

fn details(status: &Value, out: &mut String) -> std::fmt::Result {
    let now = time(&status["at"]).unwrap_or_default();
    let running = time(&status["started_at"]).map_or_else(String::new, |since| age(now, since));
    let (version, pid, config) = (text(&status["version"]), &status["pid"], text(&status["config"]));
    writeln!(out, "\nveild {version}, pid {pid}, for {running}, with {config}")?;
    match (status["config_on_disk"] == "changed", status["config_rejected"].is_null()) {
        (true, true) => writeln!(
            out,
            "  the file has changed since; `systemctl reload veild` (SIGHUP) puts it in force, or says that a restart must"
        )?,
        (true, false) => writeln!(out, "  the file has changed since, and was refused at the last reload")?,
        (false, _) => {}
    }
    if let Some(version) = status["masking_key"]["waiting_version"].as_u64() {
        let running = &status["masking_key"]["version"];
        writeln!(
            out,
            "  version {version} of the masking key is there, and files are masked under version {running}; \
             `systemctl restart veild` puts it in force"
        )?;
    }
    landings(status, now, out)?;
    for place in list(&status["places"]) {
        let room = match (place["free_bytes"].as_u64(), place["total_bytes"].as_u64()) {
            (Some(free), Some(total)) => format!("{} free of {}", readable(free), readable(total)),
            _ => "not looked at yet".to_owned(),
        };
        writeln!(out, "room         {room} for {} ({})", text(&place["place"]), text(&place["dir"]))?;
    }
    for delivery in list(&status["shipping"]) {
        let (name, to) = (text(&delivery["name"]), text(&delivery["to"]));
        let how = match delivery["behind"].as_u64() {
            Some(0) => "has all audit records".to_owned(),
            Some(count) => format!("lacks {}", super::plural(count, "audit record", "audit records")),
            None => "not known yet".to_owned(),
        };
        let trouble = delivery["trouble"]["what"].as_str().map(|what| format!(": {what}")).unwrap_or_default();
        writeln!(out, "shipping     {name} ({to}) {how}{trouble}")?;
    }
    let workers = &status["workers"];
    let busy = workers["all"].as_u64().unwrap_or(0).saturating_sub(workers["idle"].as_u64().unwrap_or(0));
    write!(out, "workers      {busy} of {} busy", workers["all"])?;
    match status["held"].as_u64().filter(|held| *held > 0) {
        Some(held) => writeln!(out, "; {} held until that is mended", files(held))?,
        None => writeln!(out)?,
    }
    let rate = |of: &str| {
        let rate = &status["rates"][of];
        let sealed = files(rate["files"].as_u64().unwrap_or(0));
        format!("{sealed} ({}) in the {}", readable(rate["bytes"].as_u64().unwrap_or(0)), of.replace('_', " "))
    };
    writeln!(out, "sealed       {}, {}", rate("last_minute"), rate("last_hour"))?;
    match time(&status["last_sealed_at"]) {
        Some(at) => writeln!(out, "last sealed  {} ago", age(now, at))?,
        None => writeln!(out, "last sealed  none since the start")?,
    }
    match (status["quarantine"]["files"].as_u64(), time(&status["quarantine"]["since"])) {
        (Some(count), Some(since)) => {
            let (count, since) = (files(count), age(now, since));
            writeln!(out, "quarantine   {count}, the first since {since}; `veild quarantine list` says why")
        }
        (Some(_), None) => writeln!(out, "quarantine   empty"),
        (None, _) => writeln!(out, "quarantine   cannot be read by this user"),
    }
}

fn landings(status: &Value, now: Timestamp, out: &mut String) -> std::fmt::Result {
    let width = list(&status["landings"]).map(|landing| text(&landing["name"]).len()).max().unwrap_or(0).max(11);
    writeln!(
        out,
        "\n{:<width$}  {:>7}  {:>9}  {:>8}  {:>8}  last sealed",
        "landing", "waiting", "in flight", "sealed", "rejected"
    )?;
    for landing in list(&status["landings"]) {
        let last =
            time(&landing["last_sealed_at"]).map_or_else(|| "-".to_owned(), |at| format!("{} ago", age(now, at)));
        writeln!(
            out,
            "{:<width$}  {:>7}  {:>9}  {:>8}  {:>8}  {last}",
            text(&landing["name"]),
            landing["waiting"].to_string(),
            landing["in_flight"].to_string(),
            landing["sealed"].to_string(),
            landing["quarantined"].to_string(),
        )?;
        if let Some(why) = landing["paused"].as_str() {
            writeln!(out, "  paused: {why}")?;
        }
        if let Some(since) = time(&landing["waiting_since"]) {
            writeln!(out, "  waiting longest: {}", age(now, since))?;
        }
    }
    for (landing, in_flight) in status["leaving"].as_object().into_iter().flatten() {
        writeln!(out, "{landing:<width$}  no longer configured, {in_flight} in flight")?;
    }
    writeln!(out)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn files(count: u64) -> String {
    super::plural(count, "file", "files")
}

/// Time between two moments in its two largest units.
fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match (seconds / 86_400, seconds / 3600, seconds / 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        json!({
            "well": true,
            "alerts": [],
            "version": "1.2.3",
            "pid": 42,
            "at": "2026-03-01T12:00:00Z",
            "started_at": "2026-02-27T10:30:00Z",
            "stopping": false,
            "config": "/etc/veild/config.toml",
            "config_on_disk": "in force",
            "landings": [{
                "name": "hr",
                "waiting": 0,
                "waiting_since": null,
                "in_flight": 1,
                "paused": null,
                "sealed": 120,
                "quarantined": 2,
                "last_sealed_at": "2026-03-01T11:59:55Z",
            }],
            "leaving": {},
            "places": [{"place": "vault", "dir": "/v", "free_bytes": 3_u64 << 30, "total_bytes": 4_u64 << 30}],
            "held": 0,
            "shipping": [
                {"name": "central", "to": "syslog+tls://h:6514", "behind": 2, "trouble": {"what": "cannot reach it"}},
                {"name": "local", "to": "journald", "behind": 0, "trouble": null},
            ],
            "workers": {"all": 2, "idle": 1},
            "rates": {"last_minute": {"files": 1, "bytes": 2048}, "last_hour": {"files": 3, "bytes": 4096}},
            "last_sealed_at": "2026-03-01T11:59:55Z",
            "quarantine": {"files": 2, "since": "2026-02-28T12:00:00Z"},
        })
    }

    #[test]
    fn all_is_well_at_a_glance() {
        let expected = "\
All is well.

veild 1.2.3, pid 42, for 2 d 1 h, with /etc/veild/config.toml

landing      waiting  in flight    sealed  rejected  last sealed
hr                 0          1       120         2  5 s ago

room         3.0 GiB free of 4.0 GiB for vault (/v)
shipping     central (syslog+tls://h:6514) lacks 2 audit records: cannot reach it
shipping     local (journald) has all audit records
workers      1 of 2 busy
sealed       1 file (2.0 KiB) in the last minute, 3 files (4.0 KiB) in the last hour
last sealed  5 s ago
quarantine   2 files, the first since 1 d 0 h; `veild quarantine list` says why
";
        assert_eq!(render(&status()), expected);
    }

    #[test]
    fn what_is_wrong_stands_first_with_what_to_do() {
        let mut status = status();
        status["well"] = json!(false);
        status["alerts"] = json!([
            {"level": "error", "code": "disk_low", "of": "vault", "since": "2026-03-01T11:57:00Z", "what": "make room"},
            {"level": "warn", "code": "file_irregular", "of": "hr", "since": "2026-03-01T11:00:00Z",
             "last": "2026-03-01T11:30:00Z", "times": 3, "what": "a link is left alone", "advice": "remove it"},
        ]);
        status["landings"][0]["paused"] = json!("vault: make room");
        status["landings"][0]["waiting"] = json!(7);
        status["landings"][0]["waiting_since"] = json!("2026-03-01T11:56:00Z");
        status["config_on_disk"] = json!("changed");
        status["masking_key"] = json!({"version": 1, "fingerprint": "a", "waiting_version": 2});
        status["held"] = json!(1);
        let text = render(&status);
        let expected = "\
1 thing needs attention:
  disk_low, vault, since 3 min ago
    make room
To know:
  file_irregular, hr, since 1 h 0 min ago, 3 times, last 30 min ago
    a link is left alone
    what to do: remove it

veild 1.2.3, pid 42, for 2 d 1 h, with /etc/veild/config.toml
  the file has changed since; `systemctl reload veild` (SIGHUP) puts it in force, or says that a restart must
  version 2 of the masking key is there, and files are masked under version 1; `systemctl restart veild` puts it in force

landing      waiting  in flight    sealed  rejected  last sealed
hr                 7          1       120         2  5 s ago
  paused: vault: make room
  waiting longest: 4 min

";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("1 of 2 busy; 1 file held until that is mended\n"), "{text}");
    }
}
