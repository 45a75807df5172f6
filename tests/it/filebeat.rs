//! Filebeat with the shipped configuration, where it is installed; it is in none of the archives that CI uses.

use std::fs;
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use serde_json::Value;

use crate::receivers::{Mood, Store};
use crate::shippers::{Writer, all_arrived, shipped, wait_for};

struct Filebeat {
    child: Child,
}

impl Filebeat {
    /// Under the shipped configuration, with short waits.
    fn start(writer: &Writer, store: &Store) -> Filebeat {
        let at = |name: &str| writer.dir.path().join(name);
        let mut config = shipped("filebeat.yml");
        for (from, to) in [
            ("/var/log/veild/audit", writer.audit().display().to_string()),
            ("https://localhost:9200", format!("http://{}", store.address)),
            ("    id: veild-audit\n", "    id: veild-audit\n    prospector.scanner.check_interval: 1s\n".to_owned()),
            ("output.elasticsearch:\n", "output.elasticsearch:\n  backoff.max: 1s\n  timeout: 3\n".to_owned()),
        ] {
            assert!(config.contains(from), "{from:?}");
            config = config.replace(from, &to);
        }
        fs::write(at("filebeat.yml"), config).unwrap();
        let log = fs::File::options().create(true).append(true).open(at("filebeat.log")).unwrap();
        let mut command = Command::new("filebeat");
        command.arg("-e").arg("-c").arg(at("filebeat.yml")).arg("--strict.perms=false");
        command.arg("--path.home").arg(at("filebeat"));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Filebeat { child }
    }

    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Filebeat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A record without what Filebeat adds to it, and its time as finely as Filebeat keeps it.
fn bare(line: &str) -> Value {
    let mut record: Value = serde_json::from_str(line).unwrap();
    let at: Timestamp = record["@timestamp"].as_str().unwrap().parse().unwrap();
    record["@timestamp"] = at.as_millisecond().into();
    let keys = record.as_object_mut().unwrap();
    ["agent", "input", "log"].iter().for_each(|key| drop(keys.remove(*key)));
    record
}

#[test]
fn filebeat_carries_every_record_to_elasticsearch() {
    if Command::new("filebeat").arg("version").output().is_err() {
        return println!("SKIPPED: needs Filebeat 8 on PATH");
    }
    let store = Store::elasticsearch();
    let mut writer = Writer::new();
    let filebeat = Filebeat::start(&writer, &store);
    writer.write();
    all_arrived(&writer, &store);
    writer.compress();
    store.set(Mood::Refusing);
    writer.write();
    wait_for("the refusals", || store.visits() > 2);
    store.set(Mood::Well);
    all_arrived(&writer, &store);
    store.set(Mood::Stalled);
    writer.write();
    wait_for("a visit", || store.visits() > 0);
    store.set(Mood::Well);
    all_arrived(&writer, &store);
    // It breaks connections off; Filebeat is killed with records at hand, and more come before it is started again.
    store.set(Mood::Breaking);
    writer.write();
    wait_for("broken connections", || store.visits() > 1);
    drop(filebeat);
    writer.write();
    store.set(Mood::Well);
    let filebeat = Filebeat::start(&writer, &store);
    all_arrived(&writer, &store);
    filebeat.stop();
    writer.write();
    let _filebeat = Filebeat::start(&writer, &store);
    all_arrived(&writer, &store);
    let held = store.held();
    let by_id = held.by_id();
    for line in writer.lines() {
        let record = bare(&line);
        let (arrived, _) = &by_id[record["event"]["id"].as_str().unwrap()];
        assert_eq!(bare(arrived), record);
    }
}
