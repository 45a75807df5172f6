//! What lies in quarantine, for operators to see.

use jiff::Timestamp;
use serde_json::json;

use super::find;
use crate::audit::{Action, Outcome, Record};
use crate::cli::Problems;
use crate::config::Config;
use crate::daemon::clerk::quarantine_dir;
use crate::fsutil::{self, printable_path, printable_text};
use crate::job::JobId;
use crate::quarantine::{self, Reason, ShowError};

/// What lies there under a job.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Entry {
    Whole(Box<Reason>),
    Damaged { job: JobId, damaged: String },
}

impl Entry {
    fn line(&self) -> String {
        match self {
            Entry::Whole(entry) => {
                let Reason { job, landing, original_name, fault, .. } = &**entry;
                printable_text(&format!("{job}  {landing}  {original_name}  {}: {}", fault.code, fault.sentence))
            }
            Entry::Damaged { job, damaged } => {
                printable_text(&format!("{job}  (damaged: {damaged}; `veild quarantine discard {job}` destroys it)"))
            }
        }
    }
}

pub(super) fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let dir = quarantine_dir(config);
    let (mut entries, mut unreadable) = (Vec::new(), 0);
    for job in quarantine::jobs(&dir)? {
        match quarantine::find(&dir, &config.audit.dir, job) {
            Ok(found) => entries.extend(found.map(|(reason, _)| Entry::Whole(Box::new(reason)))),
            Err(error) => {
                unreadable += 1;
                let damaged = fsutil::chain(&error);
                match error {
                    ShowError::Damaged(_) => entries.push(Entry::Damaged { job, damaged }),
                    ShowError::Unreadable(_) => eprintln!("{job}: {damaged}"),
                }
            }
        }
    }
    if json {
        crate::cli::print_json(&entries)?;
    } else if entries.is_empty() && unreadable == 0 {
        eprintln!("nothing is in quarantine");
    } else {
        entries.iter().for_each(|entry| println!("{}", entry.line()));
    }
    match unreadable {
        0 => Ok(()),
        count => Err(Problems(format!("{} cannot be read", crate::cli::plural(count, "entry", "entries"))).into()),
    }
}

pub(super) fn show(config: &Config, job: JobId, reason: Option<&str>, json: bool) -> anyhow::Result<()> {
    let (entry, original) = find(config, job)?;
    let record = Record::new(Timestamp::now(), Action::FileShown, Outcome::Success)
        .field("user", crate::cli::user())
        .file(entry.original_name.as_str())
        .veild("job", json!(entry.job))
        .veild("landing", json!(entry.landing))
        .veild("reason", json!(reason));
    crate::cli::record(config, record)?;
    if json {
        return crate::cli::print_json(&entry);
    }
    let Reason { original_name, bytes, landing, fault, sealed, .. } = &entry;
    let lines = [
        format!("file       {original_name} ({bytes} bytes), landing {landing}"),
        format!("rejected   {}: {}", fault.code, fault.sentence),
        format!("next       {}", fault.advice),
        format!("original   {}{}", printable_path(&original), if *sealed { " (sealed)" } else { "" }),
    ];
    lines.iter().for_each(|line| println!("{}", printable_text(line)));
    Ok(())
}
