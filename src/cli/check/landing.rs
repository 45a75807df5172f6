//! One landing: whether the service finds, takes and keeps what lands there.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::thread::CapabilitySet;

use super::places::{reachable, room};
use super::{Finding, Service, shell};
use crate::account::Account;
use crate::config::{Complete, Config, Landing};
use crate::fsutil::{At, PathError, remove_if_there};
use crate::spool::{self, SPOOL, Writers};

/// Files and directories that are looked at in a landing; faults of this kind come in numbers.
const MAX_LOOKED_AT: usize = 1000;
/// Whom `veild init` makes on a server.
const USER: &str = "veild";
const NFS: i64 = 0x6969;
/// NFS, CIFS/SMB and FUSE, by the magic numbers of statfs(2).
const REMOTE: [i64; 5] = [NFS, 0xFF53_4D42, 0xFE53_4D42, 0x517B, 0x6573_5546];

pub(super) fn check(landing: &Landing, config: &Config, service: &Service) -> Vec<Finding> {
    let (name, dir) = (&landing.name, &landing.dir);
    let (shown, quoted, user) = (dir.display(), shell(dir), &service.account.name);
    let metadata = match fs::symlink_metadata(dir) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return vec![Finding::error(format!("landing {name}: {shown} is not a directory"))],
        Err(_) => {
            let what = format!("landing {name}: {shown} is not there; mount it, or make it");
            return vec![Finding::error(what).mend(format!("install -d -o {user} -m 3770 {quoted}"))];
        }
    };
    let mut findings = reachable(&format!("landing {name}"), dir, service);
    findings.extend(modes(name, dir, &metadata, service));
    let kind = rustix::fs::statfs(dir).map_or(0, |stat| stat.f_type);
    if landing.complete == Complete::Close && REMOTE.contains(&kind) {
        findings.push(Finding::error(format!(
            "landing {name}: {shown} is a network or FUSE file system, where closes by other hosts are not seen; set complete = \"stable\", \"rename\" or \"marker\""
        )));
    }
    if kind == NFS && service.account.uid != 0 {
        findings.push(Finding::warning(format!(
            "landing {name}: {shown} is NFS, where the server decides: capabilities do not help, what lands must be readable by user {user} through its group or an ACL"
        )));
    }
    if findings.iter().all(|finding| finding.level == super::Level::Warning) {
        findings.extend(probe(name, dir, service));
        findings.extend(inside(landing, &metadata, service));
    }
    findings.extend(room(&format!("landing {name}"), dir, config));
    findings
}

/// Whether somebody could take the spool away, and whether the service could take the files.
fn modes(name: &str, dir: &Path, metadata: &Metadata, service: &Service) -> Vec<Finding> {
    let (shown, quoted, user) = (dir.display(), shell(dir), &service.account.name);
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let is_ours = owner == service.account.uid;
    let is_sticky = mode & 0o1000 != 0;
    if !is_ours && owner != 0 {
        let what = format!("landing {name}: {shown} belongs to user {owner}, who could take the spool away");
        return vec![Finding::error(what).mend(format!("chown {user} {quoted}"))];
    }
    let mut findings = Vec::new();
    if is_sticky && !is_ours {
        let what = format!(
            "landing {name}: {shown} is sticky and belongs to user {owner}: user {user} cannot take out what others put there"
        );
        findings.push(Finding::error(what).mend(format!("chown {user} {quoted}")));
    } else if is_sticky && owner == 0 {
        let what = format!(
            "landing {name}: {shown} is sticky and belongs to root: a daemon of another user could not take out what others put there"
        );
        let make = match Account::named(USER) {
            Some(_) => String::new(),
            None => format!("{} && ", super::make_user(USER)),
        };
        findings.push(Finding::warning(what).mend(format!("{make}chown {USER} {quoted}")));
    }
    if mode & 0o002 != 0 {
        let what = format!("landing {name}: every user may write to {shown} (mode {mode:04o})");
        findings.push(Finding::error(what).mend(format!("chmod o-w {quoted}")));
    } else if mode & 0o020 != 0 && !is_sticky {
        let what = format!(
            "landing {name}: whoever is in group {} could take the spool away from {shown} (mode {mode:04o}); a sticky directory of user {user} prevents that",
            metadata.gid()
        );
        findings.push(Finding::warning(what).mend(format!("chown {user} {quoted} && chmod +t {quoted}")));
    }
    findings
}

/// Tries what every claim needs, as the service.
fn probe(name: &str, dir: &Path, service: &Service) -> Vec<Finding> {
    let (shown, user) = (dir.display(), &service.account.name);
    if let Err(problem) = service.tries(|| spool::check(dir)) {
        let what = format!("landing {name}: user {user} cannot use {shown}: {problem}");
        let spool = dir.join(SPOOL);
        let mend = match spool.symlink_metadata() {
            Ok(metadata) if !metadata.is_dir() => format!("mv {0} {0}.moved", shell(&spool)),
            _ => format!("chown {user} {} && chown -Rf {user} {}", shell(dir), shell(&spool)),
        };
        return vec![Finding::error(what).mend(mend)];
    }
    match service.tries(|| try_file(&dir.join(SPOOL).join("check"))) {
        Err(problem) => vec![Finding::error(format!("landing {name}: user {user} cannot write: {problem}"))],
        Ok((owner, _)) if owner != service.account.uid => vec![Finding::error(format!(
            "landing {name}: what user {user} makes in {shown} belongs to user {owner} (root squash of an NFS export, or mount options): run the daemon as another user than root, or mount it with other options"
        ))],
        Ok((_, Writers::Unknown)) => vec![Finding::warning(format!(
            "landing {name}: the file system of {shown} has no leases: open writers cannot be seen, `quiet` alone decides; complete = \"rename\" or \"marker\" is safer"
        ))],
        Ok(_) => Vec::new(),
    }
}

/// Whom a new file belongs to, and whether open writers can be seen there.
fn try_file(path: &Path) -> Result<(u32, Writers), PathError> {
    remove_if_there(path)?;
    File::create_new(path).at("create", path)?;
    let file = File::open(path).at("open", path);
    let seen = file.and_then(|file| Ok((file.metadata().at("look at", path)?.uid(), spool::writers(&file))));
    remove_if_there(path)?;
    seen
}

/// What lies in the landing: files that the service cannot read, directories that it cannot take files out of.
fn inside(landing: &Landing, top: &Metadata, service: &Service) -> Vec<Finding> {
    let (name, user) = (&landing.name, &service.account.name);
    let (mut files, mut dirs, mut mounts) = (Vec::new(), Vec::new(), Vec::new());
    for (path, metadata) in below(&landing.dir, landing.recursive) {
        if metadata.is_dir() && metadata.dev() != top.dev() {
            mounts.push(path);
        } else if metadata.is_dir() {
            dirs.push(path);
        } else if metadata.is_file() {
            files.push(path);
        }
    }
    let unreadable =
        service.tries(|| Ok(files.into_iter().filter(|path| File::open(path).is_err()).collect::<Vec<_>>()));
    let writable = |path: &PathBuf| accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    let closed = service.tries(|| Ok(dirs.into_iter().filter(|path| !writable(path)).collect::<Vec<_>>()));
    let acl = format!("setfacl -R -m u:{user}:rwX -m d:u:{user}:rwX {}", shell(&landing.dir));
    let mut findings = Vec::new();
    if let Some(first) = unreadable.iter().flatten().next() {
        let count = unreadable.iter().flatten().count();
        let what =
            format!("landing {name}: user {user} cannot read {count} file(s) there, {} for one", first.display());
        findings.push(Finding::error(what).mend(&acl));
    }
    if let Some(first) = closed.iter().flatten().next() {
        let count = closed.iter().flatten().count();
        let what = format!(
            "landing {name}: user {user} cannot take files out of {count} directories below, {} for one",
            first.display()
        );
        findings.push(Finding::error(what).mend(&acl));
    }
    findings.extend(mounts.iter().map(|path| {
        let shown = path.display();
        Finding::error(format!(
            "landing {name}: {shown} is another file system, out of which nothing can be claimed: make it a landing of its own"
        ))
    }));
    findings
}

fn below(dir: &Path, recursive: bool) -> Vec<(PathBuf, Metadata)> {
    let (mut found, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            let Ok(metadata) = entry.metadata() else { continue };
            if is_hidden || found.len() >= MAX_LOOKED_AT || (metadata.is_dir() && !recursive) {
                continue;
            }
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
            found.push((entry.path(), metadata));
        }
    }
    found
}

/// What the service misses without its capabilities.
pub(super) fn capabilities(service: &Service) -> Vec<Finding> {
    if service.account.uid == 0 {
        return Vec::new();
    }
    let user = &service.account.name;
    let missing: Vec<(&str, &str)> = [
        (CapabilitySet::LEASE, "CAP_LEASE", "open writers of other users' files cannot be seen, `quiet` alone decides"),
        (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "files must be readable by their mode, group or ACL"),
    ]
    .into_iter()
    .filter(|(flag, ..)| !service.capabilities.contains(*flag))
    .map(|(_, name, effect)| (name, effect))
    .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let effects: Vec<&str> = missing.iter().map(|(_, effect)| *effect).collect();
    let what = format!("user {user} lacks {}: {}", names.join(" and "), effects.join("; "));
    let mend = match &service.unit {
        Some(_) => {
            "mkdir -p /etc/systemd/system/veild.service.d && printf '[Service]\\nAmbientCapabilities=CAP_LEASE CAP_DAC_READ_SEARCH\\nPrivateUsers=no\\n' > /etc/systemd/system/veild.service.d/capabilities.conf && systemctl daemon-reload && systemctl restart veild"
        }
        None => "setcap cap_lease,cap_dac_read_search+ep \"$(command -v veild)\"",
    };
    vec![Finding::warning(what).mend(mend)]
}
