//! Setting a site up, and what `check` says of one that is not as it should be.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::machine::Machine;
use crate::receivers::{Authority, Store};
use crate::sandbox::Sandbox;

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
/// Debian's users `nobody` and `daemon`.
const NOBODY: u32 = 65534;
const DAEMON: u32 = 1;

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: needs root");
    }
    is_root
}

fn veild(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veild")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn owner_and_mode(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.mode() & 0o7777)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn root_sets_up_a_site_for_the_service() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    let prefix = root.path().to_str().unwrap();
    let init = ["init", "--root", prefix, "--user", "nobody", "--landing", "/srv/landing/hr", "--landing", "/data/in"];
    let made = veild(&init);
    let said = text(&made);
    assert!(made.status.success(), "{said}");
    for (path, owner, mode) in [
        ("etc/veild", 0, 0o750),
        ("etc/veild/config.toml", 0, 0o640),
        ("etc/veild/masking.key", 0, 0o640),
        ("etc/veild/signing.key", 0, 0o640),
        ("var/lib/veild", NOBODY, 0o750),
        ("var/lib/veild/vault", NOBODY, 0o750),
        ("var/log/veild/audit", NOBODY, 0o750),
        ("srv/landing", 0, 0o755),
        ("srv/landing/hr", NOBODY, 0o3770),
        ("data/in", NOBODY, 0o3770),
    ] {
        assert_eq!(owner_and_mode(&at(path)), (owner, mode), "{path}");
    }
    let drop_in = fs::read_to_string(at("etc/systemd/system/veild.service.d/paths.conf")).unwrap();
    assert!(drop_in.ends_with("[Service]\nReadWritePaths=-/data/in\n"), "{drop_in}");
    assert!(fs::read_to_string(at("etc/systemd/system/veild.service")).unwrap().contains("\nUser=nobody\n"));
    let config = fs::read_to_string(at("etc/veild/config.toml")).unwrap();
    assert!(config.contains("name = \"hr\"\ndir = \"/srv/landing/hr\"") && config.contains("[quarantine]"), "{config}");
    // Two identities, on the screen and nowhere else.
    let identities: Vec<&str> = said.lines().filter(|line| line.starts_with("AGE-SECRET-KEY-")).collect();
    assert_eq!(identities.len(), 2, "{said}");
    for path in crate::sandbox::files_below(root.path()) {
        let content = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&content).contains("AGE-SECRET-KEY-"), "an identity in {}", path.display());
    }
    let again = veild(&init);
    assert!(!again.status.success() && text(&again).contains("overwrites nothing"), "{}", text(&again));
}

#[test]
fn an_interrupted_setup_goes_on_and_keeps_its_keys() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let init = |recipient: &[&str]| {
        let made = veild(&[&["init", "--root", root.path().to_str().unwrap(), "--user", "nobody"], recipient].concat());
        assert!(made.status.success(), "{}", text(&made));
        text(&made)
    };
    init(&[]);
    let key = fs::read(root.path().join("etc/veild/masking.key")).unwrap();
    fs::remove_file(root.path().join("etc/veild/config.toml")).unwrap();
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let said = init(&["--recipient", recipient, "--quarantine-recipient", recipient]);
    assert!(!said.contains("AGE-SECRET-KEY-"), "others read: {said}");
    assert_eq!(fs::read(root.path().join("etc/veild/masking.key")).unwrap(), key);
}

#[test]
fn root_gives_away_nothing_that_others_could_swap() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home/ann");
    fs::create_dir_all(&home).unwrap();
    chown(&home, Some(DAEMON), None).unwrap();
    let prefix = root.path().to_str().unwrap();
    let refused = veild(&["init", "--root", prefix, "--user", "nobody", "--landing", "/home/ann/in"]);
    assert!(!refused.status.success() && text(&refused).contains("is not root's alone"), "{}", text(&refused));
    assert!(!home.join("in").exists());
}

/// The whole way on a system that is this one under a layer of memory: set up as root, run as the service's user with
/// its two capabilities, a file dropped by a third user.
#[test]
fn the_service_works_in_the_site_that_root_has_set_up() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        mount -t tmpfs tmpfs "$1"
        for place in etc var/lib var/log srv; do
            mkdir -p "$1/$place/upper" "$1/$place/work"
            mount -t overlay overlay -o "lowerdir=/$place,upperdir=$1/$place/upper,workdir=$1/$place/work" "/$place" ||
                { echo "SKIPPED: needs overlay mounts"; exit 0; }
        done
        touch /srv/veild && mount --bind "$2" /srv/veild
        /srv/veild init --user nobody --group daemon --store-identity
        sed -i 's/^quiet = .*/quiet = "0s"/; s/^state_dir = .*/&\nmin_free = "1MiB"/' /etc/veild/config.toml
        /srv/veild check
        setpriv --reuid daemon --regid daemon --clear-groups sh -c 'umask 077; cat > /srv/landing/people/people.csv'
        setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps=-all,+lease,+dac_read_search \
            --ambient-caps=-all,+lease,+dac_read_search --bounding-set=-all,+lease,+dac_read_search --no-new-privs \
            /srv/veild run --once
        ls -A /srv/landing/people/.veild
        /srv/veild vault list --json
        /srv/veild audit verify
    "#;
    let mut ran = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"])
        .args([dir.path().as_os_str(), env!("CARGO_BIN_EXE_veild").as_ref()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut ran.stdin.take().unwrap(), GOOD.as_bytes()).unwrap();
    let ran = ran.wait_with_output().unwrap();
    let said = text(&ran);
    if said.contains("SKIPPED") {
        return eprintln!("{said}");
    }
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("1 landing(s), no errors") && !said.contains("warning: "), "{said}");
    assert!(said.contains("\"original_name\": \"people.csv\"") && said.contains("the chain holds"), "{said}");
    assert!(!said.contains("lease_unavailable"), "{said}");
}

/// Three landings: where the unit reaches, where `init` grants it, and below /home.
#[test]
fn init_sets_the_service_up_under_systemd() {
    let Some(mut machine) = Machine::boot() else { return };
    fs::copy(env!("CARGO_BIN_EXE_veild"), machine.path("/usr/bin/veild")).unwrap();
    machine.run("groupadd uploads && useradd --gid uploads uploader");
    let said = machine.run("veild init --group uploads --landing /srv/landing/hr --landing more=/data/in");
    assert!(said.contains("made the user veild") && said.contains("veild.service.d/paths.conf"), "{said}");
    let config = fs::read_to_string(machine.path("/etc/veild/config.toml")).unwrap();
    let landing = config.split("[[landing]]").nth(1).unwrap().split("\n[").next().unwrap();
    let home = landing.replace("name = \"hr\"", "name = \"home\"").replace("/srv/landing/hr", "/home/in");
    let config =
        config.replace("quiet = \"2s\"", "quiet = \"0s\"").replace("[daemon]", "[daemon]\nmin_free = \"1MiB\"");
    machine.write(
        "/etc/veild/config.toml",
        &config.replace("[policy.people]", &format!("[[landing]]{home}\n[policy.people]")),
    );
    machine.run("install -d -o veild -g uploads -m 3770 /home/in");
    let before = machine.run("veild check 2>&1 || true");
    assert!(before.contains("ProtectHome=") && before.contains("mend it: veild init --drop-in"), "{before}");
    machine.run("veild init --drop-in");
    let after = machine.run("veild check");
    assert!(!after.contains("mend it: "), "{after}");
    machine.run("systemctl daemon-reload && systemctl start veild");
    for (index, dir) in ["/srv/landing/hr", "/data/in", "/home/in"].iter().enumerate() {
        let drop = format!("umask 077; printf '{}' > {dir}/{index}.csv", GOOD.replace('\n', "\\n"));
        machine.run(&format!("runuser -u uploader -- sh -c \"{drop}\""));
        let taken = machine.path("/var/lib/veild/vault");
        machine.wait_for("the file", |_| veild::vault::list(&taken).is_ok_and(|objects| objects.len() > index));
    }
    carries_its_trail_to_a_server(&mut machine);
    machine.run("systemctl stop veild && veild audit verify");
    assert!(!machine.journal().contains("lease_unavailable"), "{}", machine.journal());
}

/// The unit has no network until `init --drop-in` gives it what the trail's target needs.
fn carries_its_trail_to_a_server(machine: &mut Machine) {
    let authority = Authority::new();
    let config = authority.server(None);
    let store = machine.in_its_network(|| Store::syslog(config));
    machine.write("/etc/veild/logs-ca.pem", &authority.pem);
    machine.run("chgrp veild /etc/veild/logs-ca.pem && chmod 640 /etc/veild/logs-ca.pem");
    machine.run("grep -q localhost /etc/hosts || echo '127.0.0.1 localhost' >> /etc/hosts");
    let port = store.address.port();
    let target =
        format!("[audit.ship.central]\nto = \"syslog+tls://localhost:{port}\"\nca = \"/etc/veild/logs-ca.pem\"\n");
    let config = fs::read_to_string(machine.path("/etc/veild/config.toml")).unwrap();
    machine.write("/etc/veild/config.toml", &config.replacen("[[landing]]", &format!("{target}\n[[landing]]"), 1));
    let before = machine.run("veild check 2>&1 || true");
    let wanted = "[audit.ship.central]: PrivateNetwork= of the unit keeps veild from ";
    assert!(before.contains(wanted) && before.contains("mend it: veild init --drop-in"), "{before}");
    machine.run("veild init --drop-in && systemctl daemon-reload && systemctl restart veild");
    let after = machine.run("veild check");
    assert!(!after.contains("mend it: "), "{after}");
    machine.wait_for("the records", |_| store.records() > 3);
}

/// A site with one fault, and the command that mends it.
fn mends(sandbox: &Sandbox, arguments: &[&str]) -> Vec<(String, String)> {
    let findings = sandbox.json(&[&["check"], arguments].concat());
    let of = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    findings.as_array().unwrap().iter().map(|it| (of(it, "what"), of(it, "mend"))).collect()
}

#[track_caller]
fn assert_mend(sandbox: &Sandbox, arguments: &[&str], what: &str, mend: &str) {
    let found = mends(sandbox, arguments);
    let mend = mend.replace("SITE", sandbox.path("site").to_str().unwrap());
    assert!(found.iter().any(|(it, with)| it.contains(what) && *with == mend), "{what} | {mend} in {found:#?}");
}

#[test]
fn check_mends_modes_and_what_is_missing() {
    let sandbox = Sandbox::new();
    set_mode(&sandbox.site("masking.key"), 0o644);
    assert_mend(&sandbox, &[], "masking.key is open to others", "chmod g-wx,o-rwx SITE/masking.key");
    set_mode(&sandbox.site("masking.key"), 0o600);
    set_mode(&sandbox.site("config.toml"), 0o666);
    assert_mend(&sandbox, &[], "decides what is masked", "chmod go-w SITE/config.toml");
    set_mode(&sandbox.site("config.toml"), 0o640);
    set_mode(&sandbox.site("vault"), 0o777);
    assert_mend(&sandbox, &[], "vault directory", "chmod go-w SITE/vault");
    set_mode(&sandbox.site("vault"), 0o755);
    assert_mend(&sandbox, &[], "open to all users", "chmod o-rwx SITE/vault");
    set_mode(&sandbox.site("vault"), 0o750);
    set_mode(&sandbox.site("landing"), 0o2777);
    assert_mend(&sandbox, &[], "every user may write", "chmod o-w SITE/landing");
    set_mode(&sandbox.site("landing"), 0o2700);
    set_mode(&sandbox.path("site"), 0o770);
    assert_mend(&sandbox, &[], "could put something else in the place of", "chmod go-w SITE");
    set_mode(&sandbox.path("site"), 0o750);
    fs::remove_dir_all(sandbox.site("landing")).unwrap();
    let missing = mends(&sandbox, &[]);
    assert!(missing.iter().any(|(_, mend)| mend.starts_with("install -d -o ")), "{missing:?}");
    fs::create_dir(sandbox.site("landing")).unwrap();
    assert!(sandbox.veild(&["check"]).status.success());
    sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"1000TiB\"");
    let small = mends(&sandbox, &[]);
    assert_eq!(small.iter().filter(|(what, _)| what.contains("lower `min_free`")).count(), 4, "{small:?}");
    assert_eq!(sandbox.veild(&["check"]).status.code(), Some(3));
}

#[test]
fn check_mends_owners() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    chown(sandbox.site("landing"), Some(DAEMON), None).unwrap();
    assert_mend(&sandbox, &[], "could take the spool away", "chown root SITE/landing");
    chown(sandbox.site("landing"), Some(0), None).unwrap();
    chown(sandbox.site("audit"), Some(DAEMON), None).unwrap();
    assert_mend(&sandbox, &[], "audit directory", "chown -R root: SITE/audit");
    chown(sandbox.site("audit"), Some(0), None).unwrap();
    chown(sandbox.path("site"), Some(DAEMON), None).unwrap();
    assert_mend(&sandbox, &[], "could put something else in the place of", "chown root SITE");
    chown(sandbox.path("site"), Some(0), None).unwrap();
    set_mode(&sandbox.site("landing"), 0o3770);
    let make = match veild::account::Account::named("veild") {
        Some(_) => "",
        None => "useradd --system --home-dir /var/lib/veild --shell /usr/sbin/nologin veild && ",
    };
    assert_mend(&sandbox, &[], "is sticky", &format!("{make}chown veild SITE/landing"));
}

/// A site of user `nobody`, and a unit that runs it.
fn service(extra: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    set_mode(sandbox.dir.path(), 0o755);
    for path in crate::sandbox::files_below(&sandbox.path("site")) {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for dir in ["", "landing", "state", "vault", "audit"] {
        chown(sandbox.site(dir), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let unit = sandbox.path("veild.service");
    let shipped = include_str!("../../systemd/veild.service").replace("User=veild", "User=nobody");
    fs::write(&unit, shipped.replace("PrivateTmp=yes", "PrivateTmp=no")).unwrap();
    fs::create_dir(sandbox.path("veild.service.d")).unwrap();
    let grants = format!("[Service]\nReadWritePaths={}\n{extra}\n", sandbox.path("site").display());
    fs::write(sandbox.path("veild.service.d/site.conf"), grants).unwrap();
    let unit = unit.to_str().unwrap().to_owned();
    (sandbox, unit)
}

#[test]
fn check_tries_things_as_the_units_user() {
    if !is_root() {
        return;
    }
    let (sandbox, unit) = service("");
    let check = ["--unit", unit.as_str()];
    let output = sandbox.veild(&["check", check[0], check[1]]);
    assert!(output.status.success(), "{}", text(&output));
    // Sticky, of another user.
    chown(sandbox.site("landing"), Some(0), None).unwrap();
    set_mode(&sandbox.site("landing"), 0o1775);
    assert_mend(&sandbox, &check, "cannot take out what others put there", "chown nobody SITE/landing");
    // Of root, and closed to the service.
    set_mode(&sandbox.site("landing"), 0o755);
    let mend = "chown nobody SITE/landing && chown -Rf nobody SITE/landing/.veild";
    assert_mend(&sandbox, &check, "user nobody cannot use", mend);
    chown(sandbox.site("landing"), Some(NOBODY), None).unwrap();
    // A key that only root reads: DAC_READ_SEARCH lets the service read it all the same.
    chown(sandbox.site("masking.key"), Some(0), Some(0)).unwrap();
    assert!(sandbox.veild(&["check", check[0], check[1]]).status.success());
    fs::write(sandbox.path("veild.service.d/zz.conf"), "[Service]\nAmbientCapabilities=\n").unwrap();
    assert_mend(
        &sandbox,
        &check,
        "cannot read the masking key",
        "chgrp nogroup SITE/masking.key && chmod 0640 SITE/masking.key",
    );
    let found = mends(&sandbox, &check);
    assert!(
        found.iter().any(|(what, mend)| what.contains("lacks CAP_LEASE and CAP_DAC_READ_SEARCH")
            && mend.contains("capabilities.conf")),
        "{found:#?}"
    );
    // Without the capability, what uploaders write for themselves cannot be read.
    fs::write(sandbox.site("landing/secret.csv"), GOOD).unwrap();
    set_mode(&sandbox.site("landing/secret.csv"), 0o600);
    let acl = "setfacl -R -m u:nobody:rwX -m d:u:nobody:rwX SITE/landing";
    assert_mend(&sandbox, &check, "cannot read 1 file(s)", acl);
    sandbox.edit_config("[[landing]]", "[[landing]]\nrecursive = true");
    fs::create_dir(sandbox.site("landing/below")).unwrap();
    assert_mend(&sandbox, &check, "cannot take files out of 1 directories", acl);
}

#[test]
fn check_knows_what_the_unit_keeps_the_service_from() {
    if !is_root() {
        return;
    }
    let (sandbox, unit) = service("");
    let drop_in = "veild init --drop-in && systemctl daemon-reload && systemctl restart veild";
    fs::write(sandbox.path("veild.service.d/zz.conf"), "[Service]\nReadWritePaths=\n").unwrap();
    assert_mend(&sandbox, &["--unit", &unit], "landing people: ", drop_in);
    fs::write(sandbox.path("veild.service.d/zz.conf"), "[Service]\nPrivateTmp=yes\n").unwrap();
    let found = mends(&sandbox, &["--unit", &unit]);
    let barred = found.iter().filter(|(what, _)| what.contains("PrivateTmp=")).count();
    assert_eq!(barred, if sandbox.dir.path().starts_with("/tmp") { 4 } else { 0 }, "{found:#?}");
}

#[test]
fn check_finds_another_file_system_in_a_landing() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.edit_config("[[landing]]", "[[landing]]\nrecursive = true");
    let inner = sandbox.site("landing/inner");
    fs::create_dir(&inner).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&inner).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return eprintln!("SKIPPED: needs mount");
    }
    let found = mends(&sandbox, &[]);
    assert!(Command::new("umount").arg(&inner).status().unwrap().success());
    assert!(found.iter().any(|(what, _)| what.contains("inner is another file system")), "{found:#?}");
}
