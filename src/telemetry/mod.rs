//! The operational log: `tracing` events with stable codes, on standard error or in rotating files.

use std::io;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation as Roll};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, Rotation};

pub mod advice;
pub mod notices;

/// Starts the operational log. Keep the guard until the end: it writes out what is still queued.
pub fn start(log: &Log) -> anyhow::Result<Option<WorkerGuard>> {
    let Some(dir) = &log.dir else {
        install(log, io::stderr)?;
        return Ok(None);
    };
    let roll = match log.rotate {
        Rotation::Daily => Roll::DAILY,
        Rotation::Hourly => Roll::HOURLY,
        Rotation::Never => Roll::NEVER,
    };
    let appender = RollingFileAppender::builder()
        .rotation(roll)
        .filename_prefix("veild")
        .filename_suffix("log")
        .max_log_files(log.keep)
        .build(dir)?;
    // The default would drop lines when the queue is full.
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default().lossy(false).finish(appender);
    install(log, writer)?;
    Ok(Some(guard))
}

fn install<W>(log: &Log, writer: W) -> anyhow::Result<()>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let base = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    // Complaints about lines that cannot be written would go to standard error, and panic where that cannot be written.
    let base = base.log_internal_errors(false);
    let lines = match log.format {
        LogFormat::Json => base.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => base.with_ansi(false).boxed(),
    };
    let lines = lines.with_filter(LevelFilter::from_level(log.level));
    let installed = tracing_subscriber::registry().with(lines).with(notices::Posting).try_init();
    installed.map_err(|error| anyhow::anyhow!("the operational log cannot start: {error}"))
}
