//! `veild status`

use std::path::Path;

use crate::config::Config;
use crate::daemon::{control, event::Request};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let Some(status) = control::ask(&config.daemon.state_dir, &Request::Status)? else {
        anyhow::bail!("no veild runs on {}; start it with `veild run`", config.daemon.state_dir.display());
    };
    if arguments.json {
        return super::print_json(&status);
    }
    println!("veild {} (pid {}), since {}", status["version"], status["pid"], status["started_at"]);
    for landing in status["landings"].as_array().into_iter().flatten() {
        let paused = landing["paused"].as_str().map_or(String::new(), |why| format!("  PAUSED: {why}"));
        println!(
            "landing {}: {} waiting, {} in flight{paused}",
            landing["name"].as_str().unwrap_or("?"),
            landing["waiting"],
            landing["in_flight"]
        );
    }
    println!("workers: {} of {} idle", status["workers"]["idle"], status["workers"]["all"]);
    println!("since the start: {}", status["counts"]);
    Ok(())
}
