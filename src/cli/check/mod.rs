//! `veild check`: what is wrong with a site, or soon will be, each with the command that mends it.
//!
//! What the service may do is tried as its user, with the capabilities that the unit grants, not worked out from modes.

use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use super::Problems;
use super::unit::Unit;
use crate::account::Account;
use crate::config::Config;
use crate::fsutil::PathError;

mod inotify;
mod landing;
mod places;
mod recipients;
mod ship;

#[derive(clap::Args)]
pub struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Unit file that the daemon runs under; the installed veild.service when it runs this configuration
    #[arg(long, value_name = "PATH")]
    unit: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    pub level: Level,
    pub what: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    pub fn error(what: impl Into<String>) -> Finding {
        Finding { level: Level::Error, what: what.into(), mend: None }
    }

    pub fn warning(what: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, what: what.into(), mend: None }
    }

    pub fn mend(mut self, command: impl Into<String>) -> Finding {
        self.mend = Some(command.into());
        self
    }
}

/// How the daemon runs.
pub struct Service {
    pub account: Account,
    /// Absent when it is started by hand.
    pub unit: Option<Unit>,
    pub capabilities: CapabilitySet,
}

impl Service {
    fn of(config: &Config, unit: Option<&Path>) -> anyhow::Result<Service> {
        let unit = match unit {
            Some(path) => Some(Unit::at(path).ok_or_else(|| anyhow::anyhow!("cannot read unit {}", path.display()))?),
            None => Unit::installed(Path::new("/")).filter(|unit| runs(unit, config)),
        };
        let account = match &unit {
            Some(unit) => Account::named(&unit.user).ok_or_else(|| {
                let name = &unit.user;
                let make = make_user(name);
                anyhow::anyhow!(
                    "there is no user {name}, as whom {} runs the daemon; `{make}` makes it",
                    unit.path.display()
                )
            })?,
            None => by_hand(config),
        };
        let capabilities = match &unit {
            Some(unit) if !unit.private_users => granted(&unit.ambient),
            Some(_) => CapabilitySet::empty(),
            None => rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective),
        };
        Ok(Service { account, unit, capabilities })
    }

    /// Tries something as the service would.
    pub fn tries<T: Send>(&self, deed: impl FnOnce() -> Result<T, PathError> + Send) -> Result<T, String> {
        match self.account.does(self.capabilities, deed) {
            Ok(done) => done.map_err(|error| format!("{error}: {}", error.source)),
            Err(error) => Err(format!("cannot try things as user {}: {error}", self.account.name)),
        }
    }

    /// The service's user and group, for chown.
    pub fn owner(&self) -> String {
        format!("{}:", self.account.name)
    }
}

/// Who starts the daemon by hand: whoever its state belongs to when root asks, else whoever asks.
fn by_hand(config: &Config) -> Account {
    use std::os::unix::fs::MetadataExt;
    let own = Account::own();
    match std::fs::metadata(&config.daemon.state_dir) {
        Ok(state) if own.uid == 0 => Account::numbered(state.uid()),
        _ => own,
    }
}

fn runs(unit: &Unit, config: &Config) -> bool {
    let path = unit.config.clone().unwrap_or_else(|| PathBuf::from(super::DEFAULT_CONFIG));
    std::fs::canonicalize(path).ok() == std::fs::canonicalize(&config.path).ok()
}

fn granted(names: &[String]) -> CapabilitySet {
    let flag = |name: &String| match name.as_str() {
        "CAP_LEASE" => CapabilitySet::LEASE,
        "CAP_DAC_READ_SEARCH" => CapabilitySet::DAC_READ_SEARCH,
        _ => CapabilitySet::empty(),
    };
    names.iter().map(flag).collect()
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let service = Service::of(&config, arguments.unit.as_deref())?;
    let findings = findings(&config, &service);
    if arguments.json {
        super::print_json(&findings)?;
    } else {
        findings.iter().for_each(print);
    }
    match findings.iter().filter(|finding| finding.level == Level::Error).count() {
        0 if arguments.json => Ok(()),
        0 => {
            println!("{}: {} landing(s), no errors", config.path.display(), config.landings.len());
            Ok(())
        }
        count => Err(Problems(format!("{count} error(s)")).into()),
    }
}

/// What is wrong with the keys alone.
pub(super) fn keys(config: &Config) -> anyhow::Result<Vec<Finding>> {
    Ok(places::keys(config, &Service::of(config, None)?))
}

pub(super) fn print(finding: &Finding) {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    println!("{level}: {}", finding.what);
    if let Some(command) = &finding.mend {
        println!("  mend it: {command}");
    }
}

fn findings(config: &Config, service: &Service) -> Vec<Finding> {
    let mut findings = places::check(config, service);
    for landing in &config.landings {
        findings.extend(landing::check(landing, config, service));
    }
    findings.extend(landing::capabilities(service));
    findings.extend(inotify::check(config));
    match crate::daemon::spools::left_behind(config) {
        Ok(left) => findings.extend(left.iter().map(|left| Finding::error(left.to_string()))),
        Err(problem) => findings.push(Finding::error(format!("{problem}: {}", problem.source))),
    }
    findings.extend(recipients::check(config, service));
    findings.extend(ship::check(config, service));
    findings
}

/// The command that makes a service's user.
fn make_user(name: &str) -> String {
    format!("useradd --system --home-dir /var/lib/veild --shell /usr/sbin/nologin {name}")
}

/// A path as a shell takes it.
pub fn shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,=".contains(&byte);
    if text.bytes().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(shell(Path::new("/srv/landing/hr")), "/srv/landing/hr");
        assert_eq!(shell(Path::new("/srv/Ann's in")), "'/srv/Ann'\\''s in'");
    }
}
