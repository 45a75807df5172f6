//! Sealing with a passphrase, the one case in which the host could read its own vault.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::peers::{PASSPHRASE, site_with_passphrase};
use crate::sandbox::{Sandbox, files_below};

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

/// Lets everything of a site be sealed with its passphrase.
fn seal_everything(sandbox: &Sandbox) {
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let own = config.lines().find(|line| line.starts_with("recipients = ")).unwrap().to_owned();
    sandbox.edit_config(&own, "recipients = \"group:shared\"");
    sandbox.edit_config("[[landing]]", "[quarantine]\nrecipients = \"group:shared\"\n\n[[landing]]");
}

fn opened(object: &Path) -> Vec<u8> {
    let sealed = fs::File::open(object).unwrap();
    let decryptor = age::Decryptor::new(sealed).unwrap();
    assert!(decryptor.is_scrypt());
    let identity = age::scrypt::Identity::new(PASSPHRASE.to_owned().into());
    let mut reader = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut plain).unwrap();
    plain
}

#[test]
fn a_passphrase_seals_outputs_and_quarantine_and_stands_nowhere() {
    let sandbox = site_with_passphrase();
    seal_everything(&sandbox);
    let daemon = sandbox.ready_daemon();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.drop_file("ragged.csv", "id,name\n1\n");
    sandbox.wait_for("both", || sandbox.counts("sealed") == 1 && sandbox.counts("quarantined") == 1);
    daemon.stop();
    let receipt = &sandbox.receipts()[0];
    assert_eq!(receipt["recipients"], serde_json::json!(["passphrase:shared"]));
    let object = sandbox.site("vault").join(receipt["output"]["path"].as_str().unwrap());
    assert!(String::from_utf8(opened(&object)).unwrap().contains("US"));
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    assert_eq!(opened(&sandbox.site("state/quarantine").join(job).join("original.age")), b"id,name\n1\n");
    for path in files_below(sandbox.dir.path()).into_iter().filter(|path| !path.ends_with("passphrase")) {
        let content = fs::read(&path).unwrap();
        let found = content.windows(PASSPHRASE.len()).any(|window| window == PASSPHRASE.as_bytes());
        assert!(!found, "the passphrase stands in {}", path.display());
    }
    let check = String::from_utf8(sandbox.veild(&["check"]).stdout).unwrap();
    assert!(check.contains("warning: [recipients.shared] is a passphrase that lies on this host"), "{check}");
    sandbox.assert_audit_holds();
}

#[test]
fn a_passphrase_that_cannot_be_read_stops_the_start_and_refuses_a_reload() {
    let sandbox = site_with_passphrase();
    seal_everything(&sandbox);
    let daemon = sandbox.ready_daemon();
    fs::write(sandbox.path("passphrase"), "short\n").unwrap();
    daemon.signal(Signal::HUP);
    sandbox.wait_for("the refusal", || sandbox.log_lines("config_rejected") == 1);
    assert!(sandbox.log().contains("less than 16 characters"));
    // The old one is still in force.
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.wait_for_sealed(1);
    daemon.stop();
    let start = sandbox.veild(&["run", "--once"]);
    assert!(!start.status.success());
    assert!(String::from_utf8_lossy(&start.stderr).contains("is no passphrase"));
    let check = sandbox.veild(&["check"]);
    assert_eq!(check.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&check.stdout).contains("error: [recipients.shared]: "));
}

#[test]
fn a_passphrase_shares_an_object_with_nobody() {
    let sandbox = site_with_passphrase();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let own = config.lines().find(|line| line.starts_with("recipients = [")).unwrap();
    for (from, to, what) in [
        (own, own.replace('[', "[\"group:shared\", "), "a passphrase stands alone"),
        ("[recipients.shared]", format!("[recipients.shared]\n{own}"), "a passphrase stands alone"),
        (own, "recipients = \"passphrase:shared\"".to_owned(), "is a passphrase, which a group has"),
        ("[daemon]", "[daemon]\nworker_memory = \"256MiB\"".to_owned(), "at least 512MiB where a passphrase seals"),
    ] {
        fs::write(sandbox.site("config.toml"), config.replacen(from, &to, 1)).unwrap();
        let said = sandbox.veild(&["check"]);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(what), "{said}");
    }
}
