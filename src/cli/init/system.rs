//! A site in the system's places, for the service's own user. Doing it again goes on where it was cut off, and
//! overwrites nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret;
use anyhow::Context;
use jiff::Timestamp;

use super::draft::Draft;
use super::{LANDING_MODE, SystemArguments, drop_in, give_out, make_dir};
use crate::account::{self, Account};
use crate::audit::epoch::{EpochKey, Secret};
use crate::cli::unit::{self, Unit};
use crate::fsutil::{At, fsync_dir, write_new_synced};
use crate::seal::{Recipients, plugin_of};

const DEFAULT_LANDING: &str = "/srv/landing/people";

pub fn make(arguments: &SystemArguments, store_identity: bool) -> anyhow::Result<()> {
    let root = arguments.root.as_deref().unwrap_or(Path::new("/"));
    let site = System { root, account: account(arguments, root)? };
    let config = site.at("/etc/veild/config.toml");
    anyhow::ensure!(!config.exists(), "{} is already there; veild overwrites nothing", config.display());
    let landings = landings(&arguments.landings)?;
    let group = match &arguments.group {
        Some(name) => {
            account::group(name).with_context(|| format!("there is no group {name}; `groupadd {name}` makes it"))?
        }
        None => site.account.gid,
    };
    site.own_dir("/etc/veild", 0o750, 0)?;
    for dir in ["/var/lib/veild", "/var/lib/veild/vault", "/var/log/veild", "/var/log/veild/audit"] {
        site.own_dir(dir, 0o750, site.account.uid)?;
    }
    for (_, dir) in &landings {
        site.landing(dir, group)?;
    }
    site.keys()?;
    let audit_secret = site.epoch_key()?;
    let (recipients, vault_identity) = readers(&arguments.recipients)?;
    let (quarantine, quarantine_identity) = readers(&arguments.quarantine)?;
    let dirs: Vec<PathBuf> = landings.iter().map(|(_, dir)| dir.clone()).collect();
    let draft = Draft {
        state: "/var/lib/veild".into(),
        vault: "/var/lib/veild/vault".into(),
        audit: "/var/log/veild/audit".into(),
        masking: "/etc/veild/masking.key".into(),
        signing: "/etc/veild/signing.key".into(),
        min_free: None,
        log_format: "json",
        quiet: "2s",
        landings,
        recipients,
        quarantine,
    };
    let drop_in = drop_in::write(&dirs, root)?;
    let unit = site.unit()?;
    site.file(&config, draft.render().as_bytes())?;
    println!("wrote {}", config.display());
    unit.iter().chain(&drop_in).for_each(|path| println!("wrote {}", path.display()));
    for (identity, name, opens) in [
        (vault_identity, "identity.txt", "the vault"),
        (quarantine_identity, "quarantine-identity.txt", "rejected originals"),
    ] {
        let file = store_identity.then(|| site.at("/etc/veild").join(name));
        identity.map(|identity| give_out(&identity, file.as_deref(), opens)).transpose()?;
    }
    if let Some(secret) = audit_secret {
        let file = store_identity.then(|| site.at("/etc/veild/audit-secret.txt"));
        super::give_out_audit_secret(&secret, file.as_deref())?;
    }
    say_next(root);
    Ok(())
}

fn say_next(root: &Path) {
    if !root.join("usr/bin/veild").exists() {
        let this = std::env::current_exe().unwrap_or_else(|_| "veild".into());
        println!("next: install -m 0755 {} /usr/bin/veild", crate::cli::check::shell(&this));
    }
    println!("next: write your policy into /etc/veild/config.toml, then");
    println!("next: veild check && systemctl daemon-reload && systemctl enable --now veild");
}

/// The service's user, made where it is missing on this very host.
fn account(arguments: &SystemArguments, root: &Path) -> anyhow::Result<Account> {
    let name = &arguments.user;
    if let Some(account) = Account::named(name) {
        return Ok(account);
    }
    let make = [
        "--system",
        "--user-group",
        "--home-dir",
        "/var/lib/veild",
        "--no-create-home",
        "--shell",
        "/usr/sbin/nologin",
    ];
    let command = format!("useradd {} {name}", make.join(" "));
    anyhow::ensure!(root == Path::new("/"), "there is no user {name}; `{command}` makes it");
    let made = Command::new("useradd").args(make).arg(name).status();
    anyhow::ensure!(made.is_ok_and(|status| status.success()), "cannot make the user {name}; try `{command}`");
    println!("made the user {name}");
    Account::named(name).with_context(|| format!("the user {name} was made and is not there"))
}

/// Names and directories of the landings, which are given as `DIR` or `NAME=DIR`.
fn landings(given: &[String]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut landings: Vec<(String, PathBuf)> = Vec::new();
    let default = [DEFAULT_LANDING.to_owned()];
    for text in if given.is_empty() { &default } else { given } {
        let (name, dir) = match text.split_once('=') {
            Some((name, dir)) if !text.starts_with('/') => (name.to_owned(), PathBuf::from(dir)),
            _ => (name_of(Path::new(text)), PathBuf::from(text)),
        };
        anyhow::ensure!(dir.is_absolute(), "--landing {text}: the directory must be an absolute path");
        anyhow::ensure!(
            landings.iter().all(|(other, _)| *other != name),
            "--landing {text}: there is a landing {name} already; name it otherwise with NAME=DIR"
        );
        landings.push((name, dir));
    }
    Ok(landings)
}

/// A landing's name from the last part of its directory's: a-z, 0-9, `-` and `_`.
fn name_of(dir: &Path) -> String {
    let last = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_ascii_lowercase());
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '-' };
    let name: String = last.chars().map(plain).take(60).collect();
    let name = name.trim_matches(['-', '_']);
    if name.is_empty() { "landing".to_owned() } else { name.to_owned() }
}

/// Those given, or a new one with its identity.
fn readers(given: &[String]) -> anyhow::Result<(Vec<String>, Option<String>)> {
    if !given.is_empty() {
        Recipients::parse(given)?;
        if let Some(name) = given.iter().find_map(|recipient| plugin_of(recipient)) {
            anyhow::bail!(
                "a recipient of the plugin age-plugin-{name} is put in afterwards, with `allow_plugins` in [daemon]"
            );
        }
        return Ok((given.to_vec(), None));
    }
    let identity = age::x25519::Identity::generate();
    Ok((vec![identity.to_public().to_string()], Some(identity.to_string().expose_secret().to_owned())))
}

/// The system that the site is made in.
struct System<'a> {
    root: &'a Path,
    account: Account,
}

impl System<'_> {
    /// Where an absolute path of that system is on this one.
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A directory of the service's group.
    fn own_dir(&self, dir: &str, mode: u32, owner: u32) -> anyhow::Result<()> {
        let dir = self.at(dir);
        make_parents(&dir)?;
        make_dir(&dir, mode)?;
        chown(&dir, Some(owner), Some(self.account.gid)).at("give away", &dir)?;
        // Giving it away may have taken mode bits.
        Ok(fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).at("set the mode of", &dir)?)
    }

    /// A landing that is there already keeps its owner and mode: `veild check` says what is wrong with them.
    fn landing(&self, dir: &Path, group: u32) -> anyhow::Result<()> {
        let dir = self.at(dir);
        if dir.exists() {
            return Ok(());
        }
        ensure_safe_way(&dir)?;
        make_parents(&dir)?;
        make_dir(&dir, 0o700)?;
        chown(&dir, Some(self.account.uid), Some(group)).at("give away", &dir)?;
        Ok(fs::set_permissions(&dir, fs::Permissions::from_mode(LANDING_MODE)).at("set the mode of", &dir)?)
    }

    fn keys(&self) -> anyhow::Result<()> {
        let (masking, signing) = (self.at("/etc/veild/masking.key"), self.at("/etc/veild/signing.key"));
        if !masking.exists() {
            crate::keys::generate_masking(&masking, Timestamp::now())?;
        }
        let set =
            [&signing, &self.at("/etc/veild/signing.key.pub"), &self.at("/etc/veild/signing.key.allowed_signers")];
        if set.iter().any(|path| !path.exists()) {
            crate::keys::generate_signing(&signing)?;
        }
        [masking, signing].iter().try_for_each(|key| self.give_to_group(key))
    }

    /// The audit trail's forward-secure key, which the service itself goes on with; the secret of a new one.
    fn epoch_key(&self) -> anyhow::Result<Option<Secret>> {
        let path = self.at("/var/lib/veild/audit-epoch.key");
        let secret = match EpochKey::load(&path)? {
            Some(key) => key.secret(),
            None => {
                let secret = Secret::generate();
                EpochKey::create(&path, &secret)?;
                Some(secret)
            }
        };
        chown(&path, Some(self.account.uid), Some(self.account.gid)).at("give away", &path)?;
        Ok(secret)
    }

    /// Readable for the service, and changed by root alone.
    fn give_to_group(&self, path: &Path) -> anyhow::Result<()> {
        chown(path, Some(0), Some(self.account.gid)).at("give away", path)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o640)).at("set the mode of", path)?)
    }

    fn file(&self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        write_new_synced(path, 0o600, content)?;
        self.give_to_group(path)?;
        Ok(fsync_dir(path.parent().unwrap_or(self.root))?)
    }

    /// The unit, unless one is installed.
    fn unit(&self) -> anyhow::Result<Option<PathBuf>> {
        if Unit::installed(self.root).is_some() {
            return Ok(None);
        }
        let path = self.at("/etc/systemd/system").join(unit::NAME);
        make_parents(&path)?;
        let of_user = |line: &str| match line {
            "User=veild" => format!("User={}", self.account.name),
            "Group=veild" => format!("Group={}", self.account.group),
            other => other.to_owned(),
        };
        let text: String = unit::SHIPPED.lines().map(|line| of_user(line) + "\n").collect();
        write_new_synced(&path, 0o644, text.as_bytes())?;
        Ok(Some(path))
    }
}

/// Root must not make and give away a directory where somebody else could put a link in its place meanwhile.
fn ensure_safe_way(dir: &Path) -> anyhow::Result<()> {
    for (above, metadata) in dir.ancestors().skip(1).filter_map(|dir| Some((dir, fs::metadata(dir).ok()?))) {
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        let is_safe = owner == 0 && (mode & 0o022 == 0 || mode & 0o1000 != 0);
        anyhow::ensure!(
            is_safe,
            "{} (owner {owner}, mode {mode:04o}) is not root's alone: others could put something else in the place of {}; choose a landing below /srv/landing",
            above.display(),
            dir.display()
        );
    }
    Ok(())
}

/// Everything above a path, for all to pass through.
fn make_parents(path: &Path) -> anyhow::Result<()> {
    match path.parent() {
        Some(parent) if !parent.exists() => {
            make_parents(parent)?;
            make_dir(parent, 0o755)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landings_are_named_by_their_directories_or_as_asked() {
        let named = |given: &[&str]| landings(&given.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        let names = |given: &[&str]| named(given).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&["/srv/HR Files", "/data/in", "ann=/home/ann/in"]), ["hr-files", "in", "ann"]);
        assert_eq!(names(&[]), ["people"]);
        assert!(named(&["relative"]).is_err());
        assert!(named(&["/a/in", "/b/in"]).unwrap_err().to_string().contains("NAME=DIR"));
    }
}
