//! `veild run`

use std::path::Path;

use crate::config::Config;

#[derive(clap::Args)]
pub struct Arguments {
    /// Handle all that is there, wait for what is unfinished up to shutdown_grace, then exit
    #[arg(long)]
    once: bool,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let _guard = crate::telemetry::start(&config.log)?;
    Ok(crate::daemon::run(config, arguments.once)?)
}
