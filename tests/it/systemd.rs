//! The unit under a real systemd, in a booted container: what `systemd/` promises, seen from outside.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use veild::daemon::{control, event::Request};

use crate::machine::Machine;
use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,ssn\n1,123-45-6789\n";
/// Where the unit lets veild write; the rest is each service's own /tmp.
const GRANTED: [&str; 5] = ["/var/lib/veild", "/var/log/veild", "/srv/landing", "/tmp", "/var/tmp"];

const CONFIG: &str = r#"config_version = 1
[daemon]
min_free = "1MiB"
[keys]
masking = "/etc/veild/masking.key"
signing = "/etc/veild/signing.key"
[audit.ship.journal]
to = "journald"
[[landing]]
name = "hr"
dir = "/srv/landing/hr"
quiet = "0s"
policy = "people"
recipients = ["@RECIPIENT@"]
[policy.people]
unlisted = "keep"
[[policy.people.column]]
name = "ssn"
mask = "redact"
text = "HIDDEN"
"#;

/// The service in its machine.
struct Host {
    machine: Machine,
    config: String,
    identity: Vec<u8>,
    /// Files that have been dropped so far.
    dropped: usize,
}

#[test]
fn the_service_under_systemd() {
    let Some(machine) = Machine::boot() else { return };
    let mut host = Host::install(machine);
    host.starts_and_says_that_it_is_ready();
    host.seals_what_another_user_drops();
    host.reloads_or_says_why_not();
    host.takes_a_landing_that_the_unit_grants_at_a_restart();
    host.can_write_nowhere_else();
    host.is_restarted_after_a_kill_and_loses_nothing();
    host.is_restarted_when_its_loop_is_stuck();
    host.drains_when_it_is_stopped();
    host.reads_its_keys_from_credentials();
    host.leaves_a_trail_that_holds();
}

impl Host {
    fn install(machine: Machine) -> Host {
        let sandbox = Sandbox::new();
        let site = fs::read_to_string(sandbox.site("config.toml")).unwrap();
        let recipient = site.split("recipients = [\"").nth(1).unwrap().split('"').next().unwrap();
        let config = CONFIG.replace("@RECIPIENT@", recipient);
        let shipped =
            |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)).unwrap();
        machine.write("/usr/lib/systemd/system/veild.service", &shipped("veild.service"));
        machine.write("/usr/lib/sysusers.d/veild.conf", &shipped("veild.sysusers.conf"));
        machine.write("/usr/lib/tmpfiles.d/veild.conf", &shipped("veild.tmpfiles.conf"));
        fs::copy(env!("CARGO_BIN_EXE_veild"), machine.path("/usr/bin/veild")).unwrap();
        machine.run("systemd-sysusers");
        machine.run("systemd-tmpfiles --create veild.conf");
        machine.run("veild key generate masking --out /etc/veild/masking.key");
        machine.run("veild key generate signing --out /etc/veild/signing.key");
        machine.write("/etc/veild/config.toml", &config);
        machine.run("groupadd uploads");
        machine.run("useradd --gid uploads uploader");
        machine.run("install -d -o veild -g uploads -m 2770 /srv/landing/hr");
        machine.run("systemctl daemon-reload");
        Host { machine, config, identity: fs::read(sandbox.site("identity.txt")).unwrap(), dropped: 0 }
    }

    /// Puts a drop-in in place of the last one and starts the service anew.
    fn restart_with(&mut self, drop_in: &str) {
        self.machine.write("/etc/systemd/system/veild.service.d/test.conf", &format!("[Service]\n{drop_in}"));
        self.machine.run("systemctl daemon-reload");
        self.machine.run("systemctl restart veild");
    }

    fn unit(&self, property: &str) -> String {
        self.machine.property(property)
    }

    fn state(&self) -> Value {
        control::ask(&self.machine.path("/var/lib/veild"), &Request::Status).unwrap().unwrap_or(Value::Null)
    }

    fn drop_as_uploader(&mut self, dir: &str) {
        self.dropped += 1;
        let script = format!("umask 077; printf '{PEOPLE}' > {dir}/.up && mv {dir}/.up {dir}/{}.csv", self.dropped);
        self.machine.run(&format!("runuser -u uploader -- sh -c \"{script}\""));
    }

    fn wait_until_claimed(&mut self) {
        let host_state = |machine: &mut Machine| {
            control::ask(&machine.path("/var/lib/veild"), &Request::Status).ok().flatten().unwrap_or(Value::Null)
        };
        self.machine.wait_for("a claim", |machine| host_state(machine)["landings"][0]["in_flight"] == 1);
    }

    /// Waits until everything that was dropped is in the vault, once; gives the text of the last.
    fn wait_until_sealed(&mut self) -> String {
        let (vault, dropped) = (self.machine.path("/var/lib/veild/vault"), self.dropped);
        let sealed = || veild::vault::list(&vault).map_or(0, |entries| entries.len());
        self.machine.wait_for("the vault", |_| sealed() >= dropped);
        assert_eq!(sealed(), dropped, "a file was sealed twice");
        let newest = veild::vault::list(&vault).unwrap().pop().unwrap();
        let object = fs::File::open(vault.join(newest.path)).unwrap();
        let mut text = String::new();
        veild::seal::open(object, &self.identity).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn starts_and_says_that_it_is_ready(&mut self) {
        self.machine.run("systemctl start veild");
        assert_eq!((self.unit("ActiveState").as_str(), self.unit("SubState").as_str()), ("active", "running"));
        assert_eq!(self.state()["pid"].to_string(), self.unit("MainPID"));
        assert!(self.unit("StatusText").starts_with("0 in flight, 0 waiting"), "{}", self.unit("StatusText"));
        let status = fs::read_to_string(self.machine.path(&format!("/proc/{}/status", self.unit("MainPID")))).unwrap();
        let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
        // CAP_LEASE and CAP_DAC_READ_SEARCH.
        assert_eq!((of("CapEff:").as_str(), of("CapBnd:").as_str()), ("0000000010000004", "0000000010000004"));
        assert_eq!((of("NoNewPrivs:").as_str(), of("Seccomp:").as_str()), ("1", "2"));
        assert_ne!(of("Uid:").split_whitespace().next(), Some("0"));
    }

    fn seals_what_another_user_drops(&mut self) {
        self.drop_as_uploader("/srv/landing/hr");
        assert!(self.wait_until_sealed().contains("HIDDEN"));
        self.machine.wait_for("the source's end", |machine| !machine.path("/srv/landing/hr/1.csv").exists());
        assert!(!self.machine.journal().contains("lease_unavailable"), "CAP_LEASE is not at work");
    }

    fn reload(&self, config: &str) {
        self.machine.write("/etc/veild/config.toml", config);
        self.machine.run("systemctl reload veild");
    }

    fn reloads_or_says_why_not(&mut self) {
        let before = self.state()["config_sha256"].clone();
        self.reload(&self.config.replace("HIDDEN", "RELOADED"));
        self.machine.wait_for("the reload", |machine| {
            let state = control::ask(&machine.path("/var/lib/veild"), &Request::Status).unwrap().unwrap();
            state["config_sha256"] != before
        });
        self.drop_as_uploader("/srv/landing/hr");
        assert!(self.wait_until_sealed().contains("RELOADED"));
        self.reload(&self.config.replace("redact", "reduct"));
        self.wait_for_status("CONFIGURATION REFUSED, the old one is in force: /etc/veild/config.toml:");
        self.reload(&self.config);
        self.wait_for_status("0 in flight, 0 waiting");
        assert_eq!((self.unit("ActiveState").as_str(), self.unit("NRestarts").as_str()), ("active", "0"));
    }

    fn wait_for_status(&mut self, text: &str) {
        self.machine.wait_for(text, |machine| {
            let status = machine.property("StatusText");
            status.starts_with(text) || (!text.starts_with('0') && status.contains(text))
        });
    }

    fn takes_a_landing_that_the_unit_grants_at_a_restart(&mut self) {
        self.machine.run("install -d -o veild -g uploads -m 2770 /data/more");
        let more = self.config.replace(
            "[[landing]]\nname = \"hr\"\ndir = \"/srv/landing/hr\"",
            "[[landing]]\nname = \"more\"\ndir = \"/data/more\"",
        );
        let further = &more[more.find("[[landing]]").unwrap()..more.find("[policy").unwrap()];
        self.config.push_str(further);
        self.reload(&self.config);
        self.wait_for_status("Read-only file system");
        self.wait_for_status("restart needed");
        self.restart_with("ReadWritePaths=/data/more\n");
        self.drop_as_uploader("/data/more");
        self.wait_until_sealed();
    }

    fn can_write_nowhere_else(&mut self) {
        let pid = self.unit("MainPID");
        let as_the_service =
            format!("nsenter --mount --target {pid} setpriv --reuid veild --regid veild --clear-groups");
        let writable = r"find / -path /proc -prune -o \( -type d -o -type f \) -writable -print || true";
        let found = self.machine.run(&format!("{as_the_service} {writable}"));
        let granted =
            |path: &str| GRANTED.iter().chain(&["/data/more"]).any(|granted| Path::new(path).starts_with(granted));
        let beyond: Vec<&str> = found.lines().filter(|path| !granted(path)).collect();
        assert!(found.lines().any(|path| path == "/var/lib/veild/vault"), "{found}");
        assert_eq!(beyond, [""; 0], "the unit lets veild write there");
        self.machine.run("systemd-analyze security --threshold=10 veild.service");
    }

    /// Starts the service anew, kept at a named point for as long as a file exists.
    fn restart_held_at(&mut self, point: &str) -> PathBuf {
        let hold = format!("/srv/hold-{point}");
        self.machine.write(&hold, "");
        self.restart_with(&format!("Environment=VEILD_HOLD={point}={hold}\nReadWritePaths=/data/more\n"));
        self.machine.path(&hold)
    }

    fn is_restarted_after_a_kill_and_loses_nothing(&mut self) {
        let hold = self.restart_held_at("assigned");
        self.drop_as_uploader("/srv/landing/hr");
        self.wait_until_claimed();
        self.machine.run("systemctl kill --kill-who=main --signal=KILL veild");
        fs::remove_file(hold).unwrap();
        self.machine.wait_for("the restart", |machine| {
            machine.property("NRestarts") == "1" && machine.property("ActiveState") == "active"
        });
        self.wait_until_sealed();
        assert!(self.machine.journal().contains("daemon_recovered"));
    }

    fn is_restarted_when_its_loop_is_stuck(&mut self) {
        let hold = "/srv/hold-loop";
        self.restart_with(&format!("Environment=VEILD_HOLD=loop={hold}\nWatchdogSec=3s\nReadWritePaths=/data/more\n"));
        // As long as the loop runs, it is the loop that feeds the watchdog.
        let fed = self.unit("WatchdogTimestampMonotonic");
        self.machine.wait_for("the watchdog's food", |machine| machine.property("WatchdogTimestampMonotonic") != fed);
        assert_eq!(self.unit("NRestarts"), "0");
        self.machine.write(hold, "");
        self.machine.wait_for("the watchdog", |machine| machine.journal().contains("Watchdog timeout"));
        fs::remove_file(self.machine.path(hold)).unwrap();
        self.machine.wait_for("the restart", |machine| {
            machine.property("NRestarts") != "0" && machine.property("ActiveState") == "active"
        });
        self.drop_as_uploader("/srv/landing/hr");
        self.wait_until_sealed();
    }

    fn drains_when_it_is_stopped(&mut self) {
        let hold = self.restart_held_at("worker_started");
        self.drop_as_uploader("/srv/landing/hr");
        self.machine.wait_for("a worker", |machine| {
            let processes = "/sys/fs/cgroup/system.slice/veild.service/cgroup.procs";
            fs::read_to_string(machine.path(processes)).is_ok_and(|it| it.lines().count() == 2)
        });
        self.gives_its_workers_to_the_oom_killer();
        self.machine.run("systemctl stop --no-block veild");
        self.machine.wait_for("the stop", |machine| machine.property("SubState") == "stop-sigterm");
        fs::remove_file(hold).unwrap();
        self.machine.wait_for("the end", |machine| machine.property("ActiveState") == "inactive");
        assert_eq!((self.unit("Result").as_str(), self.unit("ExecMainStatus").as_str()), ("success", "0"));
        self.wait_until_sealed();
    }

    fn gives_its_workers_to_the_oom_killer(&mut self) {
        let main = self.unit("MainPID");
        let processes = "cat /sys/fs/cgroup/system.slice/veild.service/cgroup.procs";
        let workers = self.machine.run(processes).replace(&main, "");
        let worker = workers.trim();
        self.machine.wait_for("a worker before the daemon in the killer's eyes", |machine| {
            let scores = machine.run(&format!("cat /proc/{main}/oom_score_adj /proc/{worker}/oom_score_adj"));
            scores.split_whitespace().eq(["0", "500"])
        });
    }

    fn reads_its_keys_from_credentials(&mut self) {
        self.machine.run("install -d -m 700 /etc/credstore");
        self.machine.run("systemd-creds encrypt --name=masking /etc/veild/masking.key /etc/credstore/masking.cred");
        self.machine.run("mv /etc/veild/signing.key /etc/credstore/signing.key");
        self.machine.run("rm /etc/veild/masking.key");
        let config = self.config.replace("/etc/veild/masking.key", "credential:masking");
        self.machine.write("/etc/veild/config.toml", &config.replace("/etc/veild/signing.key", "credential:signing"));
        self.restart_with("LoadCredential=signing:/etc/credstore/signing.key\nLoadCredentialEncrypted=masking:/etc/credstore/masking.cred\nReadWritePaths=/data/more\n");
        assert_eq!(self.unit("ActiveState"), "active");
        self.drop_as_uploader("/srv/landing/hr");
        self.wait_until_sealed();
        // The commands find them where systemd keeps them while the unit runs.
        self.machine.run("veild vault verify");
        assert!(self.machine.run("veild status").contains("landing hr"));
    }

    fn leaves_a_trail_that_holds(&mut self) {
        self.machine.run("veild audit verify");
        self.machine.run("systemctl stop veild");
        let journal = self.machine.journal();
        assert!(!journal.contains("panicked") && !journal.contains("worker_died"), "{journal}");
        let audit = self.machine.path("/var/log/veild/audit");
        let trail: String = crate::sandbox::files_below(&audit)
            .into_iter()
            .map(|segment| fs::read_to_string(segment).unwrap_or_default())
            .collect();
        assert_eq!(trail.matches("\"file.sealed\"").count(), self.dropped);
        // Through all those restarts and kills.
        let carried = self.machine.run("journalctl --no-pager --output=cat --identifier=veild-audit");
        let carried: HashSet<&str> = carried.lines().collect();
        let missing: Vec<&str> = trail.lines().filter(|line| !carried.contains(line)).collect();
        assert!(missing.is_empty(), "the journal lacks {missing:?}");
    }
}
