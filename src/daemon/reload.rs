//! A reload, as far as it can hang: reading the file and trying what is new in it, on a thread of its own.
//!
//! All or nothing: what is refused here or by the clerk leaves the running configuration in force.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::clerk::{Job, chain};
use super::event::Event;
use super::spools;
use crate::config::{Config, Landing};
use crate::fsutil::PathError;
use crate::keys::Passphrases;
use crate::ledger::Attempts;
use crate::spool::{self, Claimed};

/// Ends what only a restart can do.
pub const NEEDS_RESTART: &str = "restart needed";

/// A configuration that may take the place of the running one.
pub struct Proposal {
    pub config: Arc<Config>,
    pub passphrases: Passphrases,
    pub landings: Vec<Arc<Landing>>,
    /// Those whose directory was no landing before; their spools may hold files.
    pub added: Vec<Arc<Landing>>,
}

/// What the spools of added landings hold.
#[derive(Default)]
pub struct TakenUp {
    pub jobs: Vec<(Job, Attempts)>,
    /// Files in flight; they have been moved here with their landing's directory, or their landing is back.
    pub in_flight: Vec<(Claimed, Arc<Landing>)>,
    /// Files whose outcome only had to be completed.
    pub completed: u64,
}

/// Starts reading; the answer is [`Event::Read`].
pub fn start(running: Arc<Config>, events: mpsc::Sender<Event>) -> std::io::Result<()> {
    std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
        let _ = events.blocking_send(Event::Read(read(&running).map(Box::new))); // the loop may have ended
    })?;
    Ok(())
}

fn read(running: &Config) -> Result<Proposal, String> {
    let fresh = Config::load(&running.path).map_err(|error| error.to_string())?;
    if let Some(key) = fixed_key(running, &fresh) {
        return Err(format!("{key} has changed, which a reload cannot do: {NEEDS_RESTART}"));
    }
    let known: HashSet<&PathBuf> = running.landings.iter().map(|landing| &landing.dir).collect();
    for landing in fresh.landings.iter().filter(|landing| !known.contains(&landing.dir)) {
        try_landing(landing)?;
    }
    spools::remember(&fresh).map_err(|error| chain(&error))?;
    let passphrases = Passphrases::load(&fresh).map_err(|error| error.to_string())?;
    let landings: Vec<_> = fresh.landings.iter().cloned().map(Arc::new).collect();
    let added = landings.iter().filter(|landing| !known.contains(&landing.dir)).cloned().collect();
    Ok(Proposal { config: Arc::new(fresh), passphrases, landings, added })
}

/// A key that holds from start to stop and differs.
fn fixed_key(running: &Config, fresh: &Config) -> Option<&'static str> {
    let differs = [
        ("`state_dir`", running.daemon.state_dir != fresh.daemon.state_dir),
        ("`workers`", running.daemon.workers != fresh.daemon.workers),
        ("`worker_memory`", running.daemon.worker_memory != fresh.daemon.worker_memory),
        ("`worker_timeout`", running.daemon.worker_timeout != fresh.daemon.worker_timeout),
        ("[log]", running.log != fresh.log),
        ("[audit]", running.audit != fresh.audit),
        ("[vault]", running.vault != fresh.vault),
        ("[keys]", running.keys != fresh.keys),
    ];
    differs.into_iter().find_map(|(key, differs)| differs.then_some(key))
}

/// Whether this process may do in an added landing what it must.
fn try_landing(landing: &Landing) -> Result<(), String> {
    let (name, dir) = (&landing.name, landing.dir.display());
    let refused = match std::fs::metadata(&landing.dir) {
        Ok(metadata) if metadata.is_dir() => spool::prepare(&landing.dir).err(),
        Ok(_) => return Err(format!("landing {name}: {dir} is not a directory")),
        Err(source) => Some(PathError { doing: "look at", path: landing.dir.clone(), source }),
    };
    let Some(error) = refused else { return Ok(()) };
    let what = chain(&error);
    Err(match error.source.raw_os_error() {
        Some(libc::ENOENT) => {
            format!("landing {name}: {dir} is not there; `install -d -o veild -m 3770 {dir}` makes it")
        }
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => format!(
            "landing {name}: {what}; where the unit grants this directory no writing (ReadWritePaths=, ProtectHome=), `veild init --drop-in`, then {NEEDS_RESTART}. Else `chown veild {dir}`"
        ),
        _ => format!("landing {name}: {what}"),
    })
}

/// Names of the groups of recipients that are new, gone or different.
pub fn changed_groups(before: &Config, after: &Config) -> Value {
    let mut names: Vec<&String> = before.groups.keys().chain(after.groups.keys()).collect();
    names.retain(|name| before.groups.get(*name) != after.groups.get(*name));
    names.sort();
    names.dedup();
    json!(names)
}

/// What a new configuration changes, by names of landings.
pub fn changes(before: &Config, after: &Config) -> Value {
    let names = |of: &Config, wanted: &dyn Fn(&Landing) -> bool| {
        of.landings.iter().filter(|it| wanted(it)).map(|it| it.name.clone()).collect::<Vec<_>>()
    };
    let is_same = |landing: &Landing| {
        before
            .landing(&landing.name)
            .is_none_or(|old| old == landing && before.policies.get(&old.policy) == after.policies.get(&landing.policy))
    };
    json!({
        "added": names(after, &|it| before.landing(&it.name).is_none()),
        "removed": names(before, &|it| after.landing(&it.name).is_none()),
        "changed": names(after, &|it| !is_same(it)),
    })
}
