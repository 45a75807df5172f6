//! The audit trail in the words of Elastic Common Schema: every record that any test makes veild write, and once of each
//! kind here.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use crate::crash::{BAD, GOOD};
use crate::sandbox::Sandbox;

/// Version of the line format from which on records keep to the schema.
const SINCE: u64 = 3;

struct Schema {
    /// Type, and whether a list is wanted.
    fields: HashMap<&'static str, (&'static str, bool)>,
    /// Allowed values, with the types of event that go with a category.
    values: HashMap<&'static str, HashMap<&'static str, Vec<&'static str>>>,
    /// Types of what is ours, by the index template.
    own: HashMap<String, String>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let rows = |text: &'static str| text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let fields = rows(include_str!("../fixtures/ecs/fields.tsv")).map(|row| (row[0], (row[1], row[2] == "array")));
    let mut values: HashMap<_, HashMap<_, _>> = HashMap::new();
    for row in rows(include_str!("../fixtures/ecs/values.tsv")) {
        values.entry(row[0]).or_default().insert(row[1], row[2].split(',').collect());
    }
    let template: Value =
        serde_json::from_str(include_str!("../../packaging/shippers/elasticsearch-template.json")).unwrap();
    let mut own = HashMap::new();
    mapped(&template["template"]["mappings"], String::new(), &mut own);
    Schema { fields: fields.collect(), values, own }
});

/// Every field that a mapping knows.
fn mapped(mapping: &Value, name: String, found: &mut HashMap<String, String>) {
    match mapping.get("properties").and_then(Value::as_object) {
        Some(inner) => {
            for (key, mapping) in inner {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                mapped(mapping, name, found);
            }
        }
        None => drop(found.insert(name, mapping["type"].as_str().unwrap().to_owned())),
    }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "keyword" | "wildcard" | "match_only_text" | "constant_keyword" => value.is_string(),
        "long" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "date" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        "ip" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
        "flattened" => value.is_object(),
        _ => false,
    }
}

/// What is wrong with a record: empty where the schema has every field, with this type.
fn faults(record: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    look_at(record, String::new(), &mut faults);
    let event = &record["event"];
    for field in ["kind", "category", "type", "outcome"] {
        let allowed = &SCHEMA.values[format!("event.{field}").as_str()];
        let of_list = event[field].as_array().map_or(std::slice::from_ref(&event[field]), Vec::as_slice);
        let is_allowed = |value: &Value| value.as_str().is_some_and(|value| allowed.contains_key(value));
        if of_list.is_empty() || !of_list.iter().all(is_allowed) {
            faults.push(format!("event.{field} may not be {}", event[field]));
        }
    }
    let category = event["category"][0].as_str().unwrap_or_default();
    let types = SCHEMA.values["event.category"].get(category);
    if !types.is_some_and(|types| types.contains(&event["type"][0].as_str().unwrap_or_default())) {
        faults.push(format!("event.type {} does not go with {category}", event["type"]));
    }
    for field in ["action", "dataset", "module", "id"] {
        if !event[field].is_string() {
            faults.push(format!("event.{field} is missing"));
        }
    }
    if !record["host"]["name"].is_string() || record["ecs"]["version"] != "8.11" {
        faults.push("host.name or ecs.version is missing".to_owned());
    }
    faults
}

fn look_at(value: &Value, name: String, faults: &mut Vec<String>) {
    let is_own = name.starts_with("veild.");
    let known = match is_own {
        true => SCHEMA.own.get(&name).map(|kind| (kind.as_str(), value.is_array())),
        false => SCHEMA.fields.get(name.as_str()).copied(),
    };
    match (value, known) {
        (Value::Null, _) if is_own => {}
        (Value::Array(items), Some((kind, true))) => {
            if !items.iter().all(|item| is_of_type(item, kind)) {
                faults.push(format!("{name} holds something that is no {kind}"));
            }
        }
        (_, Some((kind, false))) if is_of_type(value, kind) => {}
        (Value::Object(inner), None) => {
            for (key, value) in inner {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                look_at(value, name, faults);
            }
        }
        // Objects in a list have the fields of one.
        (Value::Array(items), None) if is_own && items.iter().all(Value::is_object) => {
            items.iter().for_each(|item| look_at(item, name.clone(), faults));
        }
        (_, None) if is_own => faults.push(format!("{name} is not in packaging/shippers/elasticsearch-template.json")),
        (_, None) => faults.push(format!("{name} is no field of ECS: ours stand below veild.*")),
        (_, Some((kind, _))) => faults.push(format!("{name} is {kind} in the schema, and {value} is none")),
    }
}

/// Looks at every record below an audit folder, whatever is wrong with the trail otherwise.
pub fn assert_conforms(dir: &Path) {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.rsplit('.').next() {
            Some("jsonl") => lines.push(bytes),
            Some("zst") => lines.push(zstd::decode_all(&*bytes).unwrap_or_default()),
            _ => {}
        }
    }
    for line in lines.iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n')) {
        let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
        if record["veild"]["audit_version"].as_u64() >= Some(SINCE) {
            let faults = faults(&record);
            assert!(faults.is_empty(), "{faults:#?} in {record:#}");
        }
    }
}

#[test]
fn a_fault_is_told() {
    let fault = |change: fn(&mut Value)| {
        let mut record = serde_json::json!({
            "@timestamp": "2026-01-01T00:00:00Z", "ecs": {"version": "8.11"}, "host": {"name": "h"},
            "event": {"kind": "event", "category": ["file"], "type": ["creation"], "outcome": "success",
                "action": "file.sealed", "dataset": "veild.audit", "module": "veild", "id": "1"},
            "veild": {"seq": 1, "views": [{"rows_out": 1}], "row": null},
        });
        change(&mut record);
        faults(&record).join("; ")
    };
    assert_eq!(fault(|_| {}), "");
    assert!(fault(|it| it["job"] = 1.into()).contains("job is no field of ECS"));
    assert!(fault(|it| it["veild"]["jobs"] = 1.into()).contains("is not in packaging"));
    assert!(fault(|it| it["veild"]["views"][0]["rows_out"] = "1".into()).contains("veild.views.rows_out is long"));
    assert!(fault(|it| it["event"]["type"][0] = "start".into()).contains("does not go with file"));
    assert!(fault(|it| it["event"]["category"] = "file".into()).contains("event.category is keyword"));
    assert!(fault(|it| it["event"]["kind"] = "fact".into()).contains("event.kind may not be"));
    assert!(fault(|it| it["file"]["size"] = "1".into()).contains("file.size is long"));
}

/// Runs a command as somebody does who has logged in over SSH.
fn from_elsewhere(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_veild"));
    command.env("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22").stdin(std::process::Stdio::null());
    command.arg("--config").arg(sandbox.site("config.toml")).args(arguments).output().unwrap()
}

/// Every record of a command says who, from where, what, with what outcome and why.
fn assert_answers(sandbox: &Sandbox) {
    let own = rustix::process::getuid().as_raw();
    let by_commands: Vec<Value> = sandbox.audit().into_iter().filter(|it| it["user"].is_object()).collect();
    assert!(by_commands.len() >= 19, "{}", by_commands.len());
    for record in by_commands {
        assert_eq!(record["user"]["effective"]["id"], own.to_string(), "{record}");
        assert!(record["source"]["address"].is_string(), "{record}");
        assert_eq!(record["veild"]["peer_uid"], own, "{record}");
        assert!(record["event"]["outcome"].is_string(), "{record}");
        let is_said = record["veild"]["reason"] == "r" || record["event"]["action"] == "key.generated";
        assert!(is_said, "{record}");
    }
    let of = |action: &str| sandbox.audit().into_iter().find(|it| it["event"]["action"] == action).unwrap();
    let (started, rotated, mapped) = (of("daemon.started"), of("key.rotated"), of("token.mapped"));
    assert_eq!(rotated["veild"]["before"], started["veild"]["keys"]["masking"]);
    assert_ne!(rotated["veild"]["key"]["fingerprint"], rotated["veild"]["before"]);
    assert!(started["veild"]["keys"]["signing"].as_str().unwrap().starts_with("SHA256:"), "{started}");
    assert_eq!((&mapped["veild"]["mapped"], &mapped["veild"]["originals"]), (&1.into(), &true.into()));
    assert_eq!(of("file.released")["veild"]["released_to"], sandbox.path("released").to_str().unwrap());
    let text = sandbox.audit().iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("ann@example.com"));
}

/// Everything that veild itself and its commands do about files, keys, holds and the trail.
#[test]
fn every_kind_of_record_keeps_to_the_schema() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("quiet = ", "duplicates = \"skip\"\nquiet = ");
    sandbox.edit_config("[[landing]]\n", "[quarantine]\nkeep = \"1h\"\n\n[[landing]]\n");
    sandbox.drop_file("good.csv", GOOD);
    sandbox.veild_until("published", &["run", "--once"]);
    let daemon = sandbox.ready_daemon();
    sandbox.drop_file("again.csv", GOOD);
    sandbox.wait_for("the duplicate", || sandbox.counts("skipped") == 1);
    for name in ["bad1.csv", "bad2.csv", "bad3.csv"] {
        sandbox.drop_file(name, BAD);
    }
    sandbox.wait_for("the rejected files", || sandbox.quarantined().len() == 3);
    let jobs: Vec<String> = sandbox.quarantined().iter().map(|it| it["job"].as_str().unwrap().to_owned()).collect();
    let (out, key) = (sandbox.path("released"), sandbox.path("new.key"));
    let (identity, sealed) = (sandbox.site("identity.txt"), sandbox.receipts()[0]["job"].as_str().unwrap().to_owned());
    let (out, key, identity) = (out.to_str().unwrap(), key.to_str().unwrap(), identity.to_str().unwrap());
    let tar = sandbox.path("export.tar");
    let tar = tar.to_str().unwrap();
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let originals = sandbox.path("originals.csv");
    fs::write(&originals, "email\nann@example.com\n").unwrap();
    let (originals, map) = (originals.to_str().unwrap(), sandbox.path("map.age"));
    let mapping = ["token", "map", "--originals", "--column", "email", "--from", "1", "--to", "2", "-r", recipient];
    for arguments in [
        vec!["quarantine", "show", &jobs[0], "--reason", "r"],
        vec!["quarantine", "release", &jobs[0], "--to", out, "--reason", "r"],
        vec!["quarantine", "discard", &jobs[1], "--reason", "r"],
        vec!["quarantine", "retry", &jobs[2], "--reason", "r"],
        vec!["vault", "open", &sealed, "-i", identity, "--reason", "r"],
        vec!["vault", "verify", "--reason", "r"],
        vec!["vault", "rewrap", &sealed, "-i", identity, "-r", recipient, "--reason", "r"],
        vec!["vault", "export", &sealed, "--out", tar, "--reason", "r"],
        vec!["audit", "hold", "add", "case-8", "--job", &sealed, "--landing", "people", "--reason", "r"],
        vec!["audit", "hold", "remove", "case-8", "--reason", "r"],
        vec!["vault", "prune", "--older-than", "0s", "--reason", "r"],
        vec!["key", "generate", "masking", "--out", key],
        vec!["key", "generate", "signing", "--out", &format!("{key}.ssh")],
        vec!["audit", "hold", "add", "case-7", "--from", "2020-01-01", "--reason", "r"],
        vec!["audit", "hold", "remove", "case-7", "--reason", "r"],
        vec!["audit", "export", "--from", "2020-01-01", "--action", "file.sealed", "--reason", "r"],
        vec!["key", "rotate", "--reason", "r"],
        [&mapping[..], &["-o", map.to_str().unwrap(), "--reason", "r", originals]].concat(),
    ] {
        let done = from_elsewhere(&sandbox, &arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let revealed = from_elsewhere(&sandbox, &["token", "reveal", "--column", "email", "--reason", "r", originals]);
    assert_eq!(revealed.status.code(), Some(3), "what was no pseudonym");
    assert_answers(&sandbox);
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    for (text, code) in [("nonsense", "config_rejected"), (&format!("{config}# more\n"), "config_loaded")] {
        fs::write(sandbox.site("config.toml"), text).unwrap();
        daemon.signal(rustix::process::Signal::HUP);
        sandbox.wait_for(code, || sandbox.log_lines(code) == 1);
    }
    daemon.stop();
    let segment = crate::sandbox::files_below(&sandbox.site("audit")).pop().unwrap();
    fs::write(&segment, [fs::read(&segment).unwrap().as_slice(), b"{\"torn"].concat()).unwrap();
    sandbox.run_until_idle();
    let seen: BTreeSet<String> =
        sandbox.audit().iter().map(|it| it["event"]["action"].as_str().unwrap().to_owned()).collect();
    let wanted = "audit.checkpoint audit.exported audit.hold_added audit.hold_removed audit.repaired config.loaded \
        config.rejected daemon.recovered daemon.started daemon.stopped file.discarded file.quarantined file.released \
        file.retried file.sealed file.shown file.skipped key.generated key.rotated token.mapped token.revealed vault.exported vault.opened vault.pruned \
        vault.rewrapped vault.verified";
    let missing: Vec<&str> = wanted.split_whitespace().filter(|action| !seen.contains(*action)).collect();
    assert!(missing.is_empty(), "no record of {missing:?}");
    assert_conforms(&sandbox.site("audit"));
}
