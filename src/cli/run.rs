//! `veild run`

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::daemon::detach::{self, Failure, Side};
use crate::daemon::pid_file::PidFile;
use crate::daemon::{self, Mode};

#[derive(clap::Args)]
pub struct Arguments {
    /// Handle all that is there, wait for what is unfinished up to shutdown_grace, then exit
    #[arg(long, conflicts_with = "daemonize")]
    once: bool,
    /// Leave the terminal, and return as soon as the daemon is ready; for hosts without systemd
    #[arg(long)]
    daemonize: bool,
    /// File that holds the daemon's process id while it runs
    #[arg(long, value_name = "F")]
    pid_file: Option<PathBuf>,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    // A daemon that has left the terminal stands in another directory when it comes to these again.
    let path = std::path::absolute(config)?;
    let pid_file = arguments.pid_file.as_deref().map(std::path::absolute).transpose()?;
    let config = Config::load(&path)?;
    if !arguments.daemonize {
        let mode = if arguments.once { Mode::Once } else { Mode::Foreground };
        return serve(config, mode, pid_file.as_deref(), || ());
    }
    let keep_stderr = config.log.dir.is_none() && leads_to_a_file(std::io::stderr());
    if config.log.dir.is_none() && !keep_stderr {
        eprintln!("veild: the operational log goes nowhere: set [log] dir, or send standard error to a file");
    }
    match detach::detach(keep_stderr)? {
        Side::Starter(ended) => ended.map_err(of_the_daemon),
        Side::Daemon(line) => {
            let mut line = Some(line);
            let served = serve(config, Mode::Detached, pid_file.as_deref(), || {
                line.take().into_iter().for_each(|it| it.ready())
            });
            match (served, line) {
                (Err(error), Some(line)) => {
                    line.failed(&Failure { exit_code: super::exit_code(&error), message: format!("{error:#}") });
                    // Who started it says so, perhaps into the same file.
                    Err(super::Problems(String::new()).into())
                }
                (served, _) => served,
            }
        }
    }
}

fn serve(config: Config, mode: Mode, pid_file: Option<&Path>, ready: impl FnOnce()) -> anyhow::Result<()> {
    let _held = pid_file.map(PidFile::take).transpose()?;
    let _guard = crate::telemetry::start(&config.log)?;
    Ok(daemon::run(config, mode, ready)?)
}

fn leads_to_a_file(stream: impl std::os::fd::AsFd) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file())
}

fn of_the_daemon(failure: Failure) -> anyhow::Error {
    match failure.exit_code {
        super::CONFIGURATION => ConfigError(failure.message).into(),
        _ => anyhow::anyhow!(failure.message),
    }
}
