//! `veild check`

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Problems;
use crate::config::{Complete, Config, Landing};
use crate::keys::{MaskingKeys, SigningKey};
use crate::seal::canonical;

#[derive(clap::Args)]
pub struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Finding {
    level: &'static str,
    what: String,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let mut findings = Vec::new();
    let mut error = |what: String| findings.push(Finding { level: "error", what });
    if let Err(problem) = MaskingKeys::load(&config.keys.masking) {
        error(format!("{problem}; `veild key generate masking --out {}` makes one", config.keys.masking.display()));
    }
    if let Err(problem) = SigningKey::load(&config.keys.signing) {
        error(format!("{problem}; `veild key generate signing --out {}` makes one", config.keys.signing.display()));
    }
    for landing in &config.landings {
        check_landing(landing, &mut error);
    }
    match crate::daemon::spools::left_behind(&config) {
        Ok(left) => left.iter().for_each(|left| error(left.to_string())),
        Err(problem) => error(format!("{problem}: {}", problem.source)),
    }
    for (landing, reader) in config.landings.iter().flat_map(readers_of_both) {
        let what =
            format!("landing {landing}: {reader} reads masked outputs and the unmasked originals in the archive");
        findings.push(Finding { level: "warning", what });
    }
    if config.quarantine.recipients.is_empty() {
        let what = "[quarantine] has no recipients: rejected originals are kept unsealed (mode 0400)".to_owned();
        findings.push(Finding { level: "warning", what });
    }
    if arguments.json {
        super::print_json(&findings)?;
    } else {
        for finding in &findings {
            println!("{}: {}", finding.level, finding.what);
        }
    }
    match findings.iter().filter(|finding| finding.level == "error").count() {
        0 if arguments.json => Ok(()),
        0 => {
            println!("{}: {} landing(s), no errors", config.path.display(), config.landings.len());
            Ok(())
        }
        count => Err(Problems(format!("{count} error(s)")).into()),
    }
}

/// Recipients of a landing's archive who are recipients of its masked outputs, too, with the landing's name.
fn readers_of_both(landing: &Landing) -> Vec<(&str, String)> {
    let readers = landing.views.iter().flat_map(|view| &view.recipients).chain(&landing.recipients);
    let readers: BTreeSet<String> = readers.map(|reader| canonical(reader)).collect();
    let archive = landing.archive.iter().flatten().map(|reader| canonical(reader));
    archive.filter(|reader| readers.contains(reader)).map(|reader| (landing.name.as_str(), reader)).collect()
}

fn check_landing(landing: &Landing, error: &mut impl FnMut(String)) {
    let dir = landing.dir.display();
    let metadata = match std::fs::symlink_metadata(&landing.dir) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return error(format!("landing {}: {dir} is not a directory", landing.name)),
        Err(_) => {
            return error(format!(
                "landing {}: {dir} is not there; `install -d -o veild -m 2770 {dir}` makes it",
                landing.name
            ));
        }
    };
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != own {
        error(format!(
            "landing {}: {dir} belongs to user {}, who could rename the spool away; `chown veild {dir}` mends it",
            landing.name,
            metadata.uid()
        ));
    }
    if landing.complete == Complete::Close && is_remote(&landing.dir) {
        error(format!(
            "landing {}: {dir} is a network or FUSE file system, where closes by other hosts are not seen; set complete = \"stable\", \"rename\" or \"marker\"",
            landing.name
        ));
    }
    if let Err(problem) = crate::spool::check(&landing.dir) {
        error(format!("landing {}: {problem}: {}", landing.name, problem.source));
    }
}

/// NFS, CIFS/SMB and FUSE, by the magic numbers of statfs(2).
fn is_remote(dir: &Path) -> bool {
    const REMOTE: [i64; 5] = [0x6969, 0xFF53_4D42, 0xFE53_4D42, 0x517B, 0x6573_5546];
    rustix::fs::statfs(dir).is_ok_and(|stat| REMOTE.contains(&stat.f_type))
}
