//! Between the signal and the end: what is at hand is finished, the rest waits where it is.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use veild::daemon::{control, event::Request};

use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

fn state(sandbox: &Sandbox) -> Value {
    control::ask(&sandbox.site("state"), &Request::Status).ok().flatten().unwrap_or(Value::Null)
}

/// The stop is the last record, and signed.
fn assert_stop_recorded(audit: &[Value]) {
    let last: Vec<&Value> = audit[audit.len() - 2..].iter().map(|it| &it["event"]["action"]).collect();
    assert_eq!(last, ["daemon.stopped", "audit.checkpoint"]);
}

#[test]
fn signals_meant_for_the_daemon_cost_no_worker_its_file() {
    let sandbox = Sandbox::new();
    let mut daemon = sandbox.daemon_held_at("worker_started");
    sandbox.drop_file("people.csv", PEOPLE);
    let ignores_signals = |worker: &Pid| {
        let status = fs::read_to_string(format!("/proc/{}/status", worker.as_raw_nonzero())).unwrap_or_default();
        let mask = status.split("SigIgn:\t").nth(1).unwrap_or("0").lines().next().unwrap_or("0").to_owned();
        u64::from_str_radix(&mask, 16).unwrap() & 1 << (Signal::TERM.as_raw() - 1) != 0
    };
    sandbox.wait_for("a worker", || daemon.workers().iter().any(ignores_signals));
    // As `pkill` does, and a service manager: the daemon and its workers get it.
    let workers = daemon.workers();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::USR1] {
        workers.iter().for_each(|worker| kill_process(*worker, signal).unwrap());
        daemon.signal(signal);
    }
    sandbox.wait_for("the drain", || state(&sandbox)["stopping"] == true);
    assert!(!daemon.has_ended());
    assert_eq!(daemon.workers(), workers);
    sandbox.let_go();
    sandbox.wait_for("the end", || daemon.has_ended());
    assert_eq!(sandbox.receipts().len(), 1);
    let log = fs::read_to_string(sandbox.path("veild.log")).unwrap();
    assert!(!log.contains("worker_died") && log.contains("0 unfinished file(s)"), "{log}");
    assert_stop_recorded(&sandbox.audit());
    sandbox.assert_audit_holds();
}

#[test]
fn a_stop_amid_a_burst_is_recorded_and_loses_nothing() {
    let sandbox = Sandbox::new();
    // More than the loop's queue holds: nobody may wait for room in it when the loop has ended.
    let count = 5000;
    for index in 0..count {
        fs::write(sandbox.site("landing").join(format!("{index}.csv")), PEOPLE).unwrap();
    }
    let daemon = sandbox.daemon();
    sandbox.wait_for("first results", || state(&sandbox)["counts"]["sealed"].as_u64() > Some(0));
    daemon.stop();
    let audit = sandbox.audit();
    assert_stop_recorded(&audit);
    let sealed = audit.iter().filter(|it| it["event"]["action"] == "file.sealed").count();
    assert_eq!(veild::vault::list(&sandbox.site("vault")).unwrap().len(), sealed);
    let csv = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "csv");
    let left = crate::sandbox::files_below(&sandbox.site("landing")).iter().filter(|path| csv(path)).count();
    assert_eq!(sealed + left, count);
    sandbox.assert_audit_holds();
}
