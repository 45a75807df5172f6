//! The drop-in that lets the unit reach directories which it does not grant by itself.

use std::path::{Path, PathBuf};

use crate::cli::unit::{Barrier, NAME, Unit};
use crate::config::Config;
use crate::fsutil::{create_dir_durable, replace_durable};

/// `etc/systemd/system/veild.service.d/…` below a system's root.
const FILE: &str = "paths.conf";

/// Writes the drop-in that a configuration needs.
pub fn write_for(config: &Path, root: &Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let own = [&config.daemon.state_dir, &config.vault.dir, &config.audit.dir].into_iter().chain(&config.log.dir);
    let dirs: Vec<PathBuf> = own.chain(config.landings.iter().map(|landing| &landing.dir)).cloned().collect();
    match write(&dirs, root)? {
        Some(path) => {
            println!("wrote {}", path.display());
            println!("next: systemctl daemon-reload && systemctl restart veild");
        }
        None => println!("nothing to do: the unit reaches every directory of {}", config.path.display()),
    }
    Ok(())
}

/// Writes the drop-in for these directories; `None` when the unit without it reaches them all. One that an earlier call
/// has left there is replaced.
pub fn write(dirs: &[PathBuf], root: &Path) -> anyhow::Result<Option<PathBuf>> {
    let dir = root.join("etc/systemd/system").join(format!("{NAME}.d"));
    let path = dir.join(FILE);
    // What this file grants already must not make it superfluous.
    let unit = Unit::installed_without(root, Some(&path)).unwrap_or_else(Unit::shipped);
    let text = render(dirs, &unit)?;
    let Some(text) = text else {
        return Ok(None);
    };
    create_dir_durable(&dir, 0o755)?;
    replace_durable(&path, 0o644, text.as_bytes())?;
    Ok(Some(path))
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
}
