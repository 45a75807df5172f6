//! What a command does goes on record: through the running daemon, else by taking its place for a moment.

use std::path::Path;

use anyhow::Context;

use crate::audit::Record;
use crate::config::Config;

/// Most records of one request, in bytes; the daemon takes twice as much.
const MAX_BATCH_BYTES: usize = 512 << 10;

/// Records an access: through the running daemon, else by taking its place for a moment.
pub(super) fn record(config: &Config, record: Record) -> anyhow::Result<()> {
    record_all(config, vec![record])
}

/// Has it on record too that a deed has failed; why it failed is what its caller gets.
pub(super) fn recorded_if_failed<T>(
    config: &Config,
    done: anyhow::Result<T>,
    failure: impl FnOnce() -> Record,
) -> anyhow::Result<T> {
    if done.is_err()
        && let Err(error) = record(config, failure())
    {
        eprintln!("that it failed stands in no audit trail: {error:#}");
    }
    done
}

/// Records what may be done where a key lies and nothing else; where there is a site it has its record.
pub(super) fn record_on_site(config: &Path, what: Record) -> anyhow::Result<()> {
    site(config)?.map_or(Ok(()), |config| record(&config, what))
}

/// The configuration of the site here; `None` where there is none. One that cannot be read may be of a site.
pub(super) fn site(config: &Path) -> anyhow::Result<Option<Config>> {
    if matches!(config.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let loaded = Config::load(config).context("whether a site here must have it on record cannot be told")?;
    Ok(Some(loaded).filter(|config| config.daemon.state_dir.exists()))
}

/// Records several in one go, or in as few as a request to the daemon has room for.
pub(super) fn record_all(config: &Config, records: Vec<Record>) -> anyhow::Result<()> {
    let (mut batch, mut bytes, source) = (Vec::new(), 0, super::who::source());
    for mut record in records {
        // Records of a change have that of whoever wanted it.
        if let (Some(source), false) = (&source, record.veild.contains_key("change")) {
            record = record.field("source", source.clone());
        }
        let size = serde_json::to_vec(&record)?.len();
        if bytes + size > MAX_BATCH_BYTES && !batch.is_empty() {
            record_batch(config, std::mem::take(&mut batch))?;
            bytes = 0;
        }
        bytes += size;
        batch.push(record);
    }
    record_batch(config, batch)
}

fn record_batch(config: &Config, records: Vec<Record>) -> anyhow::Result<()> {
    use crate::daemon::{control, event::Request};
    let request = Request::Audit(records.clone());
    if let Some(reply) = control::ask(&config.daemon.state_dir, &request)? {
        let error = reply["error"].as_str();
        anyhow::ensure!(
            reply["ok"] == true,
            "not recorded, so not done: {}",
            error.unwrap_or("the daemon is stopping")
        );
        return Ok(());
    }
    as_service(config, || {
        let _lock = crate::daemon::lock_state(config)?;
        let mut clerk = crate::daemon::open_clerk(&std::sync::Arc::new(config.clone()))?;
        clerk.trail.append(&records)?;
        Ok(())
    })
}

/// Does for root what writes where the daemon does, as the user whose state that is: a file of root's among its own
/// would keep the daemon from starting.
pub(super) fn as_service<T: Send>(
    config: &Config,
    deed: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    use std::os::unix::fs::MetadataExt;
    let Ok(state) = std::fs::metadata(&config.daemon.state_dir) else { return deed() };
    let service = crate::account::Account::numbered(state.uid());
    service.does(rustix::thread::CapabilitySet::DAC_READ_SEARCH, deed)?
}
