//! `veild demo`: the whole system on built-in, synthetic data, through the real binary.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::config::Config;
use crate::daemon::clerk::quarantine_dir;

#[derive(clap::Args)]
pub struct Arguments {
    /// New folder for the demo (default: one below the system's temporary folder)
    dir: Option<PathBuf>,
}

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n\
    00017,Alice Example,123-45-6789,alice@example.com,1987-04-12,US,first order\n\
    00018,Bob Sample,987-65-4321,bob@example.com,1990-11-30,DE,\n";
const QUOTED: &str = "id,name,ssn,email,dob,country,notes\r\n\
    1,\"Diana \"\"Di\"\" Test\",111-22-3333,diana@example.com,2001-01-31,FR,\"called twice,\r\nthen wrote\"\r\n";
const UNLISTED: &str = "id,name,ssn,email,dob,country,notes,iban\n\
    1,Eva Probe,222-33-4444,eva@example.com,1970-07-07,ES,,DE02120300000000202051\n";
const RAGGED: &str = "id,name,ssn,email,dob,country,notes\n\
    1,Frank Muster,333-44-5555,frank@example.com,1960-02-29,AT,ok\n\
    2,Grace Muster,444-55-6666,grace@example.com,1961-03-01\n";
/// Longest wait for any one step.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let dir = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("veild-demo-{}", std::process::id())),
    };
    say("1. A site of its own: directories, keys, configuration");
    let site = super::init::make_site(&dir)?;
    let identity = dir.join("identity-kept-elsewhere.txt");
    fs::write(&identity, format!("{}\n", site.identity))?;
    let config = Config::load(&site.config)?;
    println!("   {}", dir.display());

    say("2. The real daemon");
    let log = dir.join("veild.log");
    let mut daemon = Daemon::start(&site.config, &log)?;
    daemon.wait_for("to be ready", || config.daemon.state_dir.join("control.sock").exists())?;
    println!("   pid {}, log in {}", daemon.child.id(), log.display());

    say("3. Five files arrive, one of them slowly");
    let landing = &config.landings[0].dir;
    for (name, content) in
        [("good.csv", GOOD), ("quoted.csv", QUOTED), ("unlisted.csv", UNLISTED), ("ragged.csv", RAGGED)]
    {
        fs::write(landing.join(name), content)?;
        println!("   {name}");
    }
    upload_slowly(&landing.join("slow.csv"))?;
    let count = || crate::vault::list(&config.vault.dir).map_or(0, |entries| entries.len());
    daemon.wait_for("three files in the vault", || count() == 3)?;
    let quarantine = quarantine_dir(&config);
    daemon.wait_for("two files in quarantine", || {
        crate::quarantine::list(&quarantine).is_ok_and(|entries| entries.len() == 2)
    })?;

    show_vault(&config, &identity)?;
    say("6. Why two files were refused, originals kept");
    for entry in crate::quarantine::list(&quarantine)? {
        println!("   {}: {}", entry.original_name, entry.fault.sentence);
        println!("     next: {}", entry.fault.advice);
    }
    daemon.stop()?;
    show_audit(&config, &site.config, &dir)?;
    println!("\nAll as it should be. Browse {}; `rm -r {}` cleans up.", dir.display(), dir.display());
    Ok(())
}

fn say(title: &str) {
    println!("\n{title}");
}

/// Half of a file, a pause, the rest: veild must wait for the close.
fn upload_slowly(path: &Path) -> anyhow::Result<()> {
    let (half, rest) = GOOD.split_at(GOOD.len() / 2);
    let mut file = fs::File::create(path)?;
    file.write_all(half.as_bytes())?;
    std::thread::sleep(Duration::from_millis(2500));
    file.write_all(rest.as_bytes())?;
    println!("   slow.csv (open for 2.5 s, longer than `quiet`)");
    Ok(())
}

fn show_vault(config: &Config, identity: &Path) -> anyhow::Result<()> {
    say("4. What the vault holds");
    let entries = crate::vault::list(&config.vault.dir)?;
    for entry in &entries {
        println!("   {}", entry.path.display());
    }
    let is_good = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("good."));
    let good = entries.iter().find(|entry| is_good(&entry.path)).context("good.csv is not in the vault")?;
    let object = config.vault.dir.join(&good.path);
    ensure!(!String::from_utf8_lossy(&fs::read(&object)?).contains("example.com"), "the object is readable");

    say("5. Opened with the identity (and not without)");
    let stranger = age::x25519::Identity::generate().to_string();
    let stranger = age::secrecy::ExposeSecret::expose_secret(&stranger).as_bytes();
    let refused =
        crate::seal::open(fs::File::open(&object)?, stranger).err().context("a stranger opened the object")?;
    println!("   with another identity: {refused}");
    let mut masked = String::new();
    crate::seal::open(fs::File::open(&object)?, &fs::read(identity)?)?.read_to_string(&mut masked)?;
    println!("   before:");
    GOOD.lines().for_each(|line| println!("     {line}"));
    println!("   after:");
    masked.lines().for_each(|line| println!("     {line}"));
    ensure!(!masked.contains("Alice") && !masked.contains("123-45"), "the masked file still holds personal data");
    Ok(())
}

fn show_audit(config: &Config, config_path: &Path, dir: &Path) -> anyhow::Result<()> {
    say("7. The audit trail");
    let key = crate::keys::SigningKey::from_source(&config.keys.signing)?.verifying();
    let verdict = crate::audit::verify(&config.audit.dir, &key, &|_, _| {})?;
    ensure!(verdict.problems.is_empty(), "the audit trail does not verify");
    println!("   {} records, {} signed checkpoints: the chain holds", verdict.records, verdict.checkpoints);
    let tampered = dir.join("tampered-audit");
    fs::create_dir(&tampered)?;
    for entry in fs::read_dir(&config.audit.dir)? {
        let entry = entry?;
        let mut bytes = fs::read(entry.path())?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(tampered.join(entry.file_name()), bytes)?;
    }
    let verdict = crate::audit::verify(&tampered, &key, &|_, _| {})?;
    let problem = verdict.problems.first().context("the flipped byte was not found")?;
    println!("   one flipped bit in a copy: found in {} line {}: {}", problem.segment, problem.line, problem.what);
    println!("   yourself: veild --config {} audit verify", config_path.display());
    Ok(())
}

/// A running `veild run`; killed when dropped.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(config: &Path, log: &Path) -> anyhow::Result<Daemon> {
        let child = Command::new(std::env::current_exe()?)
            .arg("--config")
            .arg(config)
            .arg("run")
            .stdin(Stdio::null())
            .stderr(fs::File::create(log)?)
            .spawn()
            .context("cannot start the daemon")?;
        Ok(Daemon { child, log: log.to_owned() })
    }

    fn wait_for(&mut self, what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                anyhow::bail!("waited in vain for {what}; the daemon's log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}
