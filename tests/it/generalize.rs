//! Intervals, hierarchies, patterns and prefixes through the running system.

use std::fs;

use crate::sandbox::Sandbox;

const POLICY: &str = r#"
[policy.coarse]
missing = "ignore"

[[policy.coarse.column]]
name = "age"
mask = "generalize"
width = 10

[[policy.coarse.column]]
name = "income"
mask = "generalize"
edges = [20000, 50000]

[[policy.coarse.column]]
name = "education"
mask = "generalize"
hierarchy = "@DIR@/education.csv"
level = 1

[[policy.coarse.column]]
name = "phone"
mask = "pattern"
pattern = '^\+(\d{2}) [\d ]+$'
replace = '+$1 …'

[[policy.coarse.column]]
name = "zip"
mask = "truncate"
kind = "zip3"

[[policy.coarse.column]]
name = "ip"
mask = "truncate"
kind = "ip"

[[policy.coarse.column]]
name = "place"
mask = "truncate"
kind = "geohash"
keep = 4
"#;
const EDUCATION: &str = "Bachelors;Higher;*\nMasters;Higher;*\n11th;Secondary;*\n";
const HEADER: &str = "age,income,education,phone,zip,ip,place\n";

fn site() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("education.csv"), EDUCATION).unwrap();
    let config = sandbox.site("config.toml");
    let text = fs::read_to_string(&config).unwrap().replace("policy = \"people\"", "policy = \"coarse\"");
    fs::write(&config, text + &POLICY.replace("@DIR@", sandbox.dir.path().to_str().unwrap())).unwrap();
    sandbox
}

#[test]
fn coarser_values_come_out_quoted_where_they_hold_the_delimiter() {
    let sandbox = site();
    let row = "39,49999.99,Masters,+49 171 1234567,02139,192.0.2.77,u33dc0\n";
    sandbox.drop_file("people.csv", format!("{HEADER}{row},,,,,,\n"));
    sandbox.drop_file("semicolons.csv", format!("{HEADER}{row}").replace(',', ";"));
    sandbox.run_until_idle();
    let masked = |name| String::from_utf8(sandbox.vault_plaintext(name)).unwrap();
    let expected = "\"[30, 40)\",\"[20000, 50000)\",Higher,+49 …,021,192.0.2.0,u33d\n,,,,,,\n";
    assert_eq!(masked("people.csv"), format!("{HEADER}{expected}"));
    let last = masked("semicolons.csv").lines().last().unwrap().to_owned();
    assert_eq!(last, "[30, 40);[20000, 50000);Higher;+49 …;021;192.0.2.0;u33d");
}

#[test]
fn what_the_masks_cannot_read_is_rejected_by_place() {
    let sandbox = site();
    let good = ["39", "1", "Masters", "+49 171 1", "02139", "192.0.2.77", "u33dc0"];
    for (column, bad) in ["old", "much", "PhD", "0171 1", "2139", "host", "home!"].iter().enumerate() {
        let mut cells = good;
        cells[column] = bad;
        sandbox.drop_file(&format!("{column}.csv"), format!("{HEADER}{}\n{}\n", good.join(","), cells.join(",")));
    }
    sandbox.run_until_idle();
    assert_eq!(sandbox.quarantined().len(), 7);
    for reason in sandbox.quarantined() {
        assert_eq!((reason["code"].as_str(), reason["row"].as_u64()), (Some("mistyped_cell"), Some(2)), "{reason}");
        let index: usize = reason["original_name"].as_str().unwrap()[..1].parse().unwrap();
        assert_eq!(reason["column"].as_str(), HEADER.trim().split(',').nth(index));
    }
}

#[test]
fn a_hierarchy_is_read_with_the_configuration_and_again_at_a_reload() {
    let sandbox = site();
    let daemon = sandbox.daemon();
    sandbox.wait_for("the daemon", || sandbox.site("state/control.sock").exists());
    let log = || fs::read_to_string(sandbox.path("veild.log")).unwrap();
    fs::write(sandbox.path("education.csv"), "Bachelors;Higher;*\nBachelors;x;*\n").unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    sandbox.wait_for("the refusal", || log().contains("config_rejected"));
    assert!(log().contains("education.csv: lines 1 and 2 give levels for the same value"), "{}", log());
    fs::write(sandbox.path("education.csv"), EDUCATION.replace("Higher", "Degree")).unwrap();
    sandbox.drop_file("old.csv", "education\nMasters\n");
    sandbox.wait_for("the file under the old table", || sandbox.receipts().len() == 1);
    daemon.signal(rustix::process::Signal::HUP);
    sandbox.wait_for("the reload", || log().contains("config_loaded"));
    sandbox.drop_file("new.csv", "education\nMasters\n");
    sandbox.wait_for("the file under the new table", || sandbox.receipts().len() == 2);
    daemon.stop();
    assert_eq!(sandbox.vault_plaintext("old.csv"), b"education\nHigher\n");
    assert_eq!(sandbox.vault_plaintext("new.csv"), b"education\nDegree\n");
    let digests: Vec<_> = sandbox.receipts().iter().map(|it| it["policy"]["sha256"].clone()).collect();
    assert_ne!(digests[0], digests[1], "a policy's digest covers its hierarchies");
}

#[test]
fn configuration_errors_name_the_hierarchy_and_what_is_wrong() {
    let sandbox = site();
    let refusal = |from: &str, to: &str| {
        sandbox.edit_config(from, to);
        let output = sandbox.veild(&["check"]);
        sandbox.edit_config(to, from);
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stderr).unwrap()
    };
    let gone = refusal("/education.csv", "/gone.csv");
    assert!(gone.contains("gone.csv: No such file") && gone.contains("config.toml:"), "{gone}");
    let level = refusal("level = 1", "level = 3");
    assert!(level.contains("`level` must be 1 to 2"), "{level}");
    let relative = refusal("hierarchy = \"/", "hierarchy = \"");
    assert!(relative.contains("start it with `/`"), "{relative}");
    let lines: String = (0..300_000).map(|index| format!("value number {index};x\n")).collect();
    fs::write(sandbox.path("education.csv"), &lines).unwrap();
    let large = refusal("level = 1", "# level = 1");
    assert!(large.contains("larger than 4 MiB"), "{large}");
}
