//! `veild status`

use std::path::Path;

use crate::config::Config;
use crate::daemon::{control, event::Request, places::readable};

#[derive(clap::Args)]
pub struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    // A daemon that refused a broken file at a reload still runs: that is when one asks.
    let state_dir = Config::state_dir(config)?;
    let Some(status) = control::ask(&state_dir, &Request::Status)? else {
        anyhow::bail!("no veild runs on {}; start it with `veild run`", state_dir.display());
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
    for (landing, in_flight) in status["leaving"].as_object().into_iter().flatten() {
        println!("landing {landing}: no longer configured, {in_flight} in flight");
    }
    if let Some(why) = status["config_rejected"]["why"].as_str() {
        println!("CONFIGURATION REFUSED at {}, the old one is in force: {why}", status["config_rejected"]["at"]);
    }
    for place in status["places"].as_array().into_iter().flatten() {
        let (name, dir) = (place["place"].as_str().unwrap_or("?"), place["dir"].as_str().unwrap_or("?"));
        let room = match (place["free_bytes"].as_u64(), place["total_bytes"].as_u64()) {
            (Some(free), Some(total)) => format!("{} free of {}", readable(free), readable(total)),
            _ => "not looked at yet".to_owned(),
        };
        let trouble = place["trouble"]["what"].as_str().map_or(String::new(), |what| format!("  TROUBLE: {what}"));
        println!("room for {name} ({dir}): {room}{trouble}");
    }
    println!("workers: {} of {} idle", status["workers"]["idle"], status["workers"]["all"]);
    println!("since the start: {}", status["counts"]);
    Ok(())
}
