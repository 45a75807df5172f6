//! Who can open what: every kind of recipient, against the stock `age`; and the ways in which a policy names columns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret;

use crate::sandbox::Sandbox;

/// A new pair of `ssh-keygen`; the private key's path, and the public key as age takes it.
pub fn ssh_key(sandbox: &Sandbox, kind: &str) -> (PathBuf, String) {
    let path = sandbox.path(kind);
    let made =
        Command::new("ssh-keygen").args(["-q", "-N", "", "-C", "a comment", "-t", kind, "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    (path, public.trim().to_owned())
}

pub fn age_key(sandbox: &Sandbox, name: &str) -> (PathBuf, String) {
    let identity = age::x25519::Identity::generate();
    let path = sandbox.path(name);
    fs::write(&path, identity.to_string().expose_secret()).unwrap();
    (path, identity.to_public().to_string())
}

/// What stock age makes of an object with this identity; `None` when it refuses.
fn opened(identity: &Path, object: &Path) -> Option<String> {
    let output = Command::new("age").arg("-d").arg("-i").arg(identity).arg(object).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

const RULES: &str = r#"[policy.people]
unlisted = "reject"

[[policy.people.column]]
names = ["Given  Name", "surname"]
mask = "redact"
text = "***"

[[policy.people.column]]
glob = "*_date"
mask = "date"
to = "year"

[[policy.people.column]]
regex = "(tax|social)_?no"
mask = "partial"
keep_last = 2

[[policy.people.column]]
name = "hire_date"
mask = "keep"

"#;
const INPUT: &str = "GIVEN NAME, Surname ,birth_date,Hire_Date,TAXNO,social_no\n\
    Ann,Lee,1987-04-12,2020-01-02,123456789,987654321\n";
const MASKED: &str = "GIVEN NAME, Surname ,birth_date,Hire_Date,TAXNO,social_no\n\
    ***,***,1987,2020-01-02,*******89,*******21\n";

#[test]
fn every_recipient_opens_with_the_stock_tool_what_the_policy_says() {
    let has = |tool: &str| Command::new("which").arg(tool).output().is_ok_and(|it| it.status.success());
    if !has("age") || !has("ssh-keygen") {
        return eprintln!("SKIPPED: needs the Debian packages age and openssh-client");
    }
    let sandbox = Sandbox::new();
    let [ed25519, rsa] = ["ed25519", "rsa"].map(|kind| ssh_key(&sandbox, kind));
    let [first, second, stranger] = ["first", "second", "stranger"].map(|name| age_key(&sandbox, name));
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let given = config.lines().find(|line| line.starts_with("recipients = ")).unwrap();
    let list = sandbox.path("readers");
    fs::write(&list, format!("# two of them\n\n  {}\n{}\n", second.1, rsa.1)).unwrap();
    let wanted = format!("recipients = [{:?}, {:?}]\nrecipients_file = {list:?}", first.1, ed25519.1);
    sandbox.edit_config(given, &wanted);
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let policy = config.find("[policy.people]").unwrap();
    fs::write(sandbox.site("config.toml"), format!("{}{RULES}", &config[..policy])).unwrap();
    sandbox.drop_file("people.csv", INPUT);
    sandbox.run_until_idle();
    let receipts = sandbox.receipts();
    assert_eq!(receipts.len(), 1, "{:?}", sandbox.quarantined());
    assert_eq!(receipts[0]["recipients"].as_array().unwrap().len(), 4);
    let object = sandbox.site("vault").join(receipts[0]["output"]["path"].as_str().unwrap());
    for (identity, _) in [&first, &second, &ed25519, &rsa] {
        assert_eq!(opened(identity, &object).as_deref(), Some(MASKED), "{}", identity.display());
    }
    assert_eq!(opened(&stranger.0, &object), None);
    assert_eq!(opened(&sandbox.site("identity.txt"), &object), None, "no reader any more");
    for (identity, _) in [&first, &ed25519, &rsa] {
        let verdict = sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
        assert_eq!((&verdict["sealed_to_others"], verdict["problems"].as_array().unwrap().len()), (&0.into(), 0));
    }
}
