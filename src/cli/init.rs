//! `veild init`

use std::fs;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use anyhow::Context;
use jiff::Timestamp;

use crate::fsutil::{create_dir_durable, write_new_synced};

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder that holds the whole site
    #[arg(default_value = "veild-site")]
    dir: PathBuf,
    /// Also keep the age identity in DIR/identity.txt, for trying things out: this host can then read its vault
    #[arg(long)]
    store_identity: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let site = make_site(&arguments.dir)?;
    println!("wrote {}", site.config.display());
    if arguments.store_identity {
        let path = arguments.dir.join("identity.txt");
        write_new_synced(&path, 0o600, format!("{}\n", site.identity).as_bytes())?;
        println!("the age identity is in {}; take it off this host", path.display());
    } else {
        println!("\nThe age identity that opens the vault; shown once, kept nowhere:\n\n{}\n", site.identity);
    }
    println!("next: veild --config {0} check && veild --config {0} run", site.config.display());
    Ok(())
}

/// A freshly made site.
pub struct Site {
    pub config: PathBuf,
    pub identity: String,
}

/// Makes directories, keys and a configuration with one landing below `dir`.
pub fn make_site(dir: &Path) -> anyhow::Result<Site> {
    create_dir_durable(dir, 0o750)?;
    let dir = fs::canonicalize(dir).with_context(|| format!("cannot find {}", dir.display()))?;
    let config = dir.join("config.toml");
    anyhow::ensure!(!config.exists(), "{} is already there; veild overwrites nothing", config.display());
    for (name, mode) in [("landing", 0o2770), ("state", 0o750), ("vault", 0o750), ("audit", 0o750)] {
        create_dir_durable(&dir.join(name), mode)?;
    }
    crate::keys::generate_masking(&dir.join("masking.key"), Timestamp::now())?;
    crate::keys::generate_signing(&dir.join("signing.key"))?;
    let identity = age::x25519::Identity::generate();
    let text = CONFIG
        .replace("@DIR@", dir.to_str().context("the folder's path must be UTF-8")?)
        .replace("@RECIPIENT@", &identity.to_public().to_string());
    write_new_synced(&config, 0o640, text.as_bytes())?;
    Ok(Site { config, identity: identity.to_string().expose_secret().to_owned() })
}

const CONFIG: &str = r#"config_version = 1

[daemon]
state_dir = "@DIR@/state"
min_free = "64MiB"

[log]
format = "text"

[audit]
dir = "@DIR@/audit"

[vault]
dir = "@DIR@/vault"

[keys]
masking = "@DIR@/masking.key"
signing = "@DIR@/signing.key"

[[landing]]
name = "people"
dir = "@DIR@/landing"
quiet = "1s"
policy = "people"
recipients = ["@RECIPIENT@"]

[policy.people]
unlisted = "reject"

[[policy.people.column]]
names = ["id", "country", "notes"]
mask = "keep"

[[policy.people.column]]
name = "name"
mask = "redact"
text = "***"

[[policy.people.column]]
name = "ssn"
mask = "partial"
keep_last = 4

[[policy.people.column]]
name = "email"
mask = "hash"
length = 24

[[policy.people.column]]
name = "dob"
mask = "date"
to = "year"
"#;
