//! The drop-ins that let the unit reach directories and hosts which it does not grant by itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::audit::ship::Target;
use crate::cli::unit::network::{family, needed_for};
use crate::cli::unit::{Barrier, NAME, Unit};
use crate::config::Config;
use crate::fsutil::{create_dir_durable, remove_if_there, replace_durable};

/// `etc/systemd/system/veild.service.d/…` below a system's root.
const PATHS: &str = "paths.conf";
const NETWORK: &str = "network.conf";

/// What became of a drop-in.
enum Written {
    Yes(PathBuf),
    /// Nothing needs it any more.
    Removed(PathBuf),
    NotNeeded,
}

/// Writes the drop-ins that a configuration needs.
pub fn write_for(config: &Path, root: &Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let own = [&config.daemon.state_dir, &config.vault.dir, &config.audit.dir].into_iter().chain(&config.log.dir);
    let dirs: Vec<PathBuf> = own.chain(config.landings.iter().map(|landing| &landing.dir)).cloned().collect();
    let paths = write(&dirs, root)?;
    paths.iter().for_each(|path| println!("wrote {}", path.display()));
    let network = write_network(&config.audit.ship, root)?;
    match &network {
        Written::Yes(path) => println!("wrote {}", path.display()),
        Written::Removed(path) => println!("removed {}: nothing is carried over the network", path.display()),
        Written::NotNeeded => {}
    }
    match (paths, network) {
        (None, Written::NotNeeded) => {
            println!("nothing to do: the unit reaches every directory and host of {}", config.path.display());
        }
        _ => println!("next: systemctl daemon-reload && systemctl restart veild"),
    }
    Ok(())
}

fn place(root: &Path, file: &str) -> PathBuf {
    root.join("etc/systemd/system").join(format!("{NAME}.d")).join(file)
}

/// The unit without one of our own drop-ins: what that grants already must not make it superfluous.
fn unit_without(root: &Path, path: &Path) -> Unit {
    Unit::installed_without(root, Some(path)).unwrap_or_else(Unit::shipped)
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    create_dir_durable(path.parent().context("a drop-in lies in a directory")?, 0o755)?;
    Ok(replace_durable(path, 0o644, text.as_bytes())?)
}

/// Writes the drop-in for these directories; `None` when the unit without it reaches them all. One that an earlier call
/// has left there is replaced.
pub fn write(dirs: &[PathBuf], root: &Path) -> anyhow::Result<Option<PathBuf>> {
    let path = place(root, PATHS);
    let Some(text) = render(dirs, &unit_without(root, &path))? else { return Ok(None) };
    put(&path, &text)?;
    Ok(Some(path))
}

/// Writes the drop-in for hosts that records are carried to.
fn write_network(targets: &[Target], root: &Path) -> anyhow::Result<Written> {
    let path = place(root, NETWORK);
    let unit = unit_without(root, &path);
    let mut needed: Vec<IpAddr> = Vec::new();
    for (target, host) in targets.iter().filter_map(|target| Some((target, target.host()?))) {
        needed.extend(needed_for(host).with_context(|| {
            let name = &target.name;
            format!(
                "[audit.ship.{name}]: the address of {host} cannot be found now; give it as an address, or try later"
            )
        })?);
    }
    needed.retain(|address| unit.network.keeps_from(*address).is_some());
    needed.sort();
    needed.dedup();
    if needed.is_empty() {
        let is_there = path.exists();
        remove_if_there(&path)?;
        return Ok(if is_there { Written::Removed(path) } else { Written::NotNeeded });
    }
    put(&path, &render_network(&needed))?;
    Ok(Written::Yes(path))
}

fn render_network(needed: &[IpAddr]) -> String {
    let mut families: Vec<&str> = needed.iter().map(|address| family(*address)).collect();
    families.dedup(); // IPv4 comes before IPv6
    let mut text = "# Written by `veild init --drop-in`, which replaces it.\n[Service]\nPrivateNetwork=no\n".to_owned();
    text.push_str(&format!("RestrictAddressFamilies={}\n", families.join(" ")));
    needed.iter().for_each(|address| text.push_str(&format!("IPAddressAllow={address}\n")));
    text
}

fn render(dirs: &[PathBuf], unit: &Unit) -> anyhow::Result<Option<String>> {
    let (mut writable, mut bound) = (Vec::new(), Vec::new());
    for dir in dirs {
        match unit.keeps_from(dir) {
            None => {}
            Some(Barrier::ReadOnly) => writable.push(quoted(dir)),
            Some(Barrier::Home) => bound.push(quoted(dir)),
            Some(Barrier::Tmp) => anyhow::bail!(
                "{} is temporary, and the service has a /tmp of its own (PrivateTmp=); choose another place",
                dir.display()
            ),
        }
    }
    if writable.is_empty() && bound.is_empty() {
        return Ok(None);
    }
    let mut text = "# Written by `veild init`, which replaces it.\n[Service]\n".to_owned();
    writable.iter().for_each(|dir| text.push_str(&format!("ReadWritePaths={dir}\n")));
    if !bound.is_empty() {
        // Home directories stay out of sight but for these.
        text.push_str("ProtectHome=tmpfs\n");
        bound.iter().for_each(|dir| text.push_str(&format!("BindPaths={dir}\n")));
    }
    Ok(Some(text))
}

/// A path that may be missing, as a unit file takes it: one that is not there must not keep the service from starting.
fn quoted(path: &Path) -> String {
    let text = format!("-{}", path.to_string_lossy().replace('%', "%%"));
    if text.contains([' ', '"', '\\']) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_grants_what_the_unit_does_not() {
        let root = tempfile::tempdir().unwrap();
        let dirs = |dirs: &[&str]| dirs.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(write(&dirs(&["/srv/landing/hr", "/var/lib/veild"]), root.path()).unwrap(), None);
        let wanted = dirs(&["/srv/landing/hr", "/data/in", "/home/ann/in"]);
        let path = write(&wanted, root.path()).unwrap().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("ReadWritePaths=-/data/in\nProtectHome=tmpfs\nBindPaths=-/home/ann/in\n"), "{text}");
        // A second call finds its own file, and does not take it for somebody else's.
        assert_eq!(write(&wanted, root.path()).unwrap(), Some(path.clone()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let unit = root.path().join("etc/systemd/system").join(NAME);
        std::fs::write(&unit, include_str!("../../../systemd/veild.service")).unwrap();
        let unit = Unit::installed(root.path()).unwrap();
        assert!(wanted.iter().all(|dir| unit.keeps_from(dir).is_none()));
        assert!(write(&dirs(&["/tmp/in"]), root.path()).is_err());
    }

    #[test]
    fn a_drop_in_opens_the_network_as_far_as_the_trail_is_carried() {
        use crate::audit::ship::To;
        let root = tempfile::tempdir().unwrap();
        let target = |host: &str| Target {
            name: "central".to_owned(),
            to: To::SyslogTls { host: host.to_owned(), port: 6514, ca: PathBuf::from("/ca.pem"), client: None },
            alert_after: std::time::Duration::from_secs(900),
        };
        let journal = Target { to: To::Journald, ..target("") };
        let write = |targets: &[Target]| write_network(targets, root.path()).unwrap();
        assert!(matches!(write(std::slice::from_ref(&journal)), Written::NotNeeded));
        let targets = [journal.clone(), target("192.0.2.10"), target("2001:db8::1"), target("192.0.2.10")];
        let Written::Yes(path) = write(&targets) else { panic!("nothing written") };
        let text = std::fs::read_to_string(&path).unwrap();
        let wanted =
            "RestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=192.0.2.10\nIPAddressAllow=2001:db8::1\n";
        assert!(text.ends_with(wanted), "{text}");
        let unit = root.path().join("etc/systemd/system").join(NAME);
        std::fs::write(&unit, crate::cli::unit::SHIPPED).unwrap();
        let keeps_from = |host: &str| Unit::installed(root.path()).unwrap().network.keeps_from(host.parse().unwrap());
        assert_eq!((keeps_from("192.0.2.10"), keeps_from("192.0.2.11")), (None, Some("IPAddressDeny=")));
        let Written::Yes(_) = write(&[target("localhost")]) else { panic!("nothing written") };
        assert!(keeps_from("127.0.0.1").is_none() && keeps_from("192.0.2.10").is_some());
        assert!(write_network(&[target(&"x".repeat(70))], root.path()).is_err());
        // Nobody needs the network any more.
        assert!(matches!(write(&[journal]), Written::Removed(_)) && !path.exists());
    }
}
