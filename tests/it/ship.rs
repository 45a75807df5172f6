//! The audit trail carried elsewhere by veild itself, to servers and journals in every mood.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::crash::GOOD;
use crate::receivers::{Authority, Mood, Store};
use crate::retention;
use crate::sandbox::Sandbox;

/// What takes seconds otherwise.
const QUICK: [(&str, &str); 4] = [
    ("VEILD_SHIP_CONFIRM_MS", "200"),
    ("VEILD_SHIP_RETRY_MS", "20"),
    ("VEILD_SHIP_PATIENCE_MS", "1500"),
    ("VEILD_AUDIT_UPKEEP_MS", "0"),
];

/// A site that carries its trail to a server.
fn shipping_to(store: &Store, authority: &Authority, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    add_target(&sandbox, store, authority, more);
    sandbox
}

fn add_target(sandbox: &Sandbox, store: &Store, authority: &Authority, more: &str) {
    fs::write(sandbox.site("ca.pem"), &authority.pem).unwrap();
    let ca = sandbox.site("ca.pem").display().to_string();
    let port = store.address.port();
    let target = format!("[audit.ship.central]\nto = \"syslog+tls://localhost:{port}\"\nca = {ca:?}\n{more}\n");
    sandbox.edit_config("[[landing]]\n", &format!("{target}\n[[landing]]\n"));
}

/// Every line of the trail.
fn lines(sandbox: &Sandbox) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    veild::audit::each_line(&sandbox.site("audit"), |line, _| {
        lines.insert(String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned());
        Ok(())
    })
    .unwrap();
    lines
}

fn arrived(store: &Store) -> BTreeSet<String> {
    store.held().by_id().into_values().map(|(line, _)| line).collect()
}

fn wait_for_all(sandbox: &Sandbox, store: &Store) {
    sandbox.wait_for("all records", || arrived(store) == lines(sandbox));
}

#[test]
fn every_record_arrives_whatever_becomes_of_server_and_daemon() {
    let authority = Authority::new();
    let store = Store::syslog(authority.server(None));
    let sandbox = shipping_to(&store, &authority, "");
    let mut dropped = 0;
    let mut drop_some = || {
        for _ in 0..5 {
            sandbox.drop_file(&format!("f{dropped}.csv"), GOOD);
            dropped += 1;
        }
        sandbox.wait_for("the files", || sandbox.landing_is_empty());
    };
    let daemon = sandbox.daemon_with(&QUICK);
    drop_some();
    wait_for_all(&sandbox, &store);
    store.set(Mood::Refusing);
    drop_some();
    sandbox.wait_for("the refusals", || store.visits() > 2);
    store.set(Mood::Well);
    wait_for_all(&sandbox, &store);
    // It does not say that it has them, and the daemon is killed meanwhile.
    store.set(Mood::Stalled);
    drop_some();
    sandbox.wait_for("a visit", || store.visits() > 1);
    drop(daemon);
    store.set(Mood::Well);
    let daemon = sandbox.daemon_with(&QUICK);
    wait_for_all(&sandbox, &store);
    // It dies with what it was sent, and the daemon is stopped meanwhile.
    store.set(Mood::Breaking);
    drop_some();
    sandbox.wait_for("broken connections", || store.visits() > 2);
    daemon.stop();
    store.set(Mood::Well);
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_until_ready();
    wait_for_all(&sandbox, &store);
    daemon.stop();
    assert_eq!(arrived(&store), lines(&sandbox), "the end of the trail is carried before the daemon ends");
    let cursor: Value = serde_json::from_slice(&fs::read(sandbox.site("state/ship/central.json")).unwrap()).unwrap();
    assert_eq!(cursor["seq"], lines(&sandbox).len());
    assert!(store.held().arrived.len() > lines(&sandbox).len(), "what was not confirmed is sent again");
    // Nothing more, nothing again.
    let before = store.held().arrived.len();
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_until_ready();
    daemon.stop();
    assert_eq!(arrived(&store), lines(&sandbox));
    let checkpoints_and_notices = store.held().arrived.len() - before;
    assert!(checkpoints_and_notices < 8, "{checkpoints_and_notices}");
}

#[test]
fn a_server_that_cannot_prove_itself_gets_nothing_and_that_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let store = Store::syslog(other.server(None));
    let sandbox = shipping_to(&store, &authority, "");
    let environment = [QUICK.as_slice(), &[("VEILD_SHIP_ALERT_MS", "100")]].concat();
    let daemon = sandbox.daemon_with(&environment);
    sandbox.wait_until_ready();
    sandbox.wait_for("the alert", || sandbox.log_lines("audit_ship_late") == 1);
    let status = sandbox.status();
    let alert = status["alerts"].as_array().unwrap().iter().find(|alert| alert["code"] == "audit_ship_late").unwrap();
    assert!(alert["what"].as_str().unwrap().to_lowercase().contains("certificate"), "{alert}");
    assert_eq!((&alert["of"], &status["well"]), (&"ship central".into(), &false.into()));
    let text = String::from_utf8(sandbox.veild(&["status"]).stdout).unwrap();
    assert!(
        text.contains("shipping     central (syslog+tls://localhost:") && text.contains("audit records: "),
        "{text}"
    );
    assert_eq!(store.held().arrived.len(), 0);
    fs::rename(sandbox.site("ca.pem"), sandbox.site("away.pem")).unwrap();
    let found = sandbox.json(&["check"]).to_string();
    assert!(found.contains("[audit.ship.central]: ") && found.contains("ca.pem"), "{found}");
    fs::rename(sandbox.site("away.pem"), sandbox.site("ca.pem")).unwrap();
    assert!(!sandbox.json(&["check"]).to_string().contains("audit.ship"));
    // The right authority is put there: certificates are read anew.
    fs::write(sandbox.site("ca.pem"), &other.pem).unwrap();
    sandbox.wait_for("the end of the alert", || sandbox.log_lines("audit_ship_back") == 1);
    daemon.stop();
    let audit = sandbox.audit();
    let of = |action: &str| audit.iter().filter(|it| it["event"]["action"] == action).count();
    assert_eq!((of("alert.raised"), of("alert.cleared")), (1, 1));
    assert_eq!(arrived(&store), lines(&sandbox));
}

#[test]
fn a_server_may_ask_for_a_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let store = Store::syslog(authority.server(Some(&clients)));
    let sandbox = Sandbox::new();
    let (cert, key) = clients.certify();
    let at = |name: &str| sandbox.site(name).display().to_string();
    fs::write(at("client.pem"), cert).unwrap();
    fs::write(at("client.key"), key).unwrap();
    let allow = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(at("client.key"), mode).unwrap();
    };
    let client = format!("cert = {:?}\nkey = {:?}", at("client.pem"), at("client.key"));
    add_target(&sandbox, &store, &authority, &client);
    allow(0o644);
    assert!(sandbox.json(&["check"]).to_string().contains("client.key is open to others"));
    allow(0o600);
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_until_ready();
    wait_for_all(&sandbox, &store);
    daemon.stop();
}

#[test]
fn a_new_target_gets_the_whole_trail_and_what_it_lacks_is_not_pruned() {
    let authority = Authority::new();
    let store = Store::syslog(authority.server(None));
    let sandbox = Sandbox::new();
    retention::long_trail(&sandbox);
    store.set(Mood::Refusing);
    add_target(&sandbox, &store, &authority, "");
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_until_ready();
    let compressed = || {
        crate::sandbox::files_below(&sandbox.site("audit"))
            .iter()
            .filter(|it| it.extension().is_some_and(|it| it == "zst"))
            .count()
    };
    sandbox.wait_for("the compression", || compressed() == 7);
    sandbox.wait_for("the refusals", || store.visits() > 3);
    assert_eq!(retention::stubs(&sandbox), 0, "it lacks them");
    let all = lines(&sandbox);
    store.set(Mood::Well);
    sandbox.wait_for("the pruning", || retention::stubs(&sandbox) == 5);
    daemon.stop();
    assert!(arrived(&store).is_superset(&all) && arrived(&store).is_superset(&lines(&sandbox)));
    assert_eq!(sandbox.log_lines("audit_ship_missed"), 0);
    sandbox.assert_audit_holds();
}

#[test]
fn a_trail_that_is_another_one_is_carried_from_its_beginning() {
    let authority = Authority::new();
    let store = Store::syslog(authority.server(None));
    let sandbox = shipping_to(&store, &authority, "");
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_until_ready();
    wait_for_all(&sandbox, &store);
    daemon.stop();
    let before = arrived(&store);
    for path in ["audit", "state"] {
        fs::remove_dir_all(sandbox.site(path)).unwrap_or_default();
    }
    fs::create_dir_all(sandbox.site("state/ship")).unwrap();
    let cursor = format!("{{\"cursor_version\":1,\"seq\":2,\"line_sha256\":\"{}\"}}\n", "0".repeat(64));
    fs::write(sandbox.site("state/ship/central.json"), cursor).unwrap();
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_until_ready();
    sandbox.wait_for("all records", || arrived(&store) == before.union(&lines(&sandbox)).cloned().collect());
    sandbox.wait_for("the notice", || sandbox.log_lines("audit_ship_again") == 1);
    daemon.stop();
}

/// The journal's side of its native protocol: whole entries, in order.
fn journal(sandbox: &Sandbox) -> Arc<Mutex<Vec<String>>> {
    let socket = UnixDatagram::bind(sandbox.path("journal")).unwrap();
    let entries = Arc::new(Mutex::new(Vec::new()));
    let taken = entries.clone();
    std::thread::spawn(move || {
        let mut datagram = vec![0; 1 << 20];
        while let Ok(count) = socket.recv(&mut datagram) {
            let text = String::from_utf8(datagram[..count].to_vec()).unwrap();
            if text.is_empty() {
                return;
            }
            taken.lock().unwrap().push(text);
        }
    });
    entries
}

#[test]
fn the_journal_gets_every_record() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("[[landing]]\n", "[audit.ship.local]\nto = \"journald\"\n\n[[landing]]\n");
    let path = sandbox.path("journal").display().to_string();
    let environment = [QUICK.as_slice(), &[("VEILD_JOURNAL", path.as_str())]].concat();
    // There is none yet, and the daemon is killed before there is.
    let daemon = sandbox.daemon_with(&environment);
    sandbox.drop_file("good.csv", GOOD);
    sandbox.wait_for("the file", || sandbox.landing_is_empty());
    drop(daemon);
    let entries = journal(&sandbox);
    let daemon = sandbox.daemon_with(&environment);
    sandbox.wait_until_ready();
    let messages = || -> BTreeSet<String> {
        let entries = entries.lock().unwrap();
        entries.iter().map(|entry| entry.lines().next().unwrap().strip_prefix("MESSAGE=").unwrap().to_owned()).collect()
    };
    sandbox.wait_for("all records", || messages() == lines(&sandbox));
    daemon.stop();
    assert_eq!(messages(), lines(&sandbox));
    let sealed = entries.lock().unwrap().iter().find(|it| it.contains("VEILD_ACTION=file.sealed\n")).cloned().unwrap();
    assert!(sealed.contains("\nPRIORITY=6\n") && sealed.contains("\nSYSLOG_IDENTIFIER=veild-audit\n"), "{sealed}");
    UnixDatagram::unbound().unwrap().send_to(b"", sandbox.path("journal")).unwrap();
}

#[test]
fn a_kill_between_delivery_and_cursor_repeats_and_loses_nothing() {
    let authority = Authority::new();
    let store = Store::syslog(authority.server(None));
    let sandbox = shipping_to(&store, &authority, "");
    for _ in 0..3 {
        let mut daemon = sandbox.daemon_with(&[QUICK.as_slice(), &[("VEILD_FAULT", "shipped")]].concat());
        sandbox.wait_for("the fault", || daemon.has_ended());
    }
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_until_ready();
    wait_for_all(&sandbox, &store);
    daemon.stop();
    assert!(store.held().by_id().values().any(|(_, times)| *times > 2));
}

#[test]
fn two_hundred_random_kills_of_shipping_lose_nothing() {
    let authority = Authority::new();
    let store = Store::syslog(authority.server(None));
    let sandbox = shipping_to(&store, &authority, "");
    let mut seed = 0x853C_49E6_748F_EA9B_u64;
    let mut dropped = 0;
    for kill in 0..200 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        store.set([Mood::Well, Mood::Stalled, Mood::Well, Mood::Breaking, Mood::Refusing][kill % 5]);
        sandbox.drop_file(&format!("f{dropped}.csv"), GOOD);
        dropped += 1;
        let daemon = sandbox.daemon_with(&[QUICK.as_slice(), &[("VEILD_SHIP_CONFIRM_MS", "10")]].concat());
        // The moment of the kill is the random input of this test.
        std::thread::sleep(Duration::from_millis(seed % 120));
        drop(daemon);
    }
    store.set(Mood::Well);
    let daemon = sandbox.daemon_with(&QUICK);
    sandbox.wait_for("all files", || sandbox.landing_is_empty());
    wait_for_all(&sandbox, &store);
    daemon.stop();
    assert_eq!(arrived(&store), lines(&sandbox));
    assert_eq!(sandbox.receipts().len(), dropped);
    sandbox.assert_audit_holds();
}
