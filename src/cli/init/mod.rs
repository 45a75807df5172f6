//! `veild init`: a ready site, in one folder for whoever asks, or in the system's places for the service.

use std::fs;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use anyhow::Context;
use jiff::Timestamp;

use crate::audit::epoch::{EpochKey, Secret};
use crate::fsutil::{At, create_dir_durable, write_new_synced};

mod draft;
mod drop_in;
mod system;

use draft::Draft;

/// Of landings: the group's members put files in, the sticky bit keeps the spool out of their hands.
const LANDING_MODE: u32 = 0o3770;

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder that holds the whole site; absent: /etc/veild, /var/lib/veild … for root, ./veild-site for others
    dir: Option<PathBuf>,
    /// Also keep the age identity on this host, for trying things out: it can then read its vault
    #[arg(long, conflicts_with = "drop_in")]
    store_identity: bool,
    #[command(flatten)]
    system: SystemArguments,
}

/// Where the site is the system's.
#[derive(clap::Args)]
#[group(conflicts_with = "dir", multiple = true)]
pub struct SystemArguments {
    /// Landing to make, as DIR or NAME=DIR (default: /srv/landing/people); may be repeated
    #[arg(long = "landing", value_name = "DIR")]
    landings: Vec<String>,
    /// Group that may put files into the landings
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Who reads the vault, an age or SSH recipient; absent: an identity is made and shown once; may be repeated
    #[arg(long = "recipient", value_name = "R")]
    recipients: Vec<String>,
    /// Who reads rejected originals, likewise
    #[arg(long = "quarantine-recipient", value_name = "R")]
    quarantine: Vec<String>,
    /// The service's user
    #[arg(long, value_name = "USER", default_value = "veild")]
    user: String,
    /// Make everything below this folder, which holds another system
    #[arg(long, value_name = "PREFIX")]
    root: Option<PathBuf>,
    /// Only write the unit's drop-ins for directories and hosts of the configuration that the unit does not reach
    #[arg(long)]
    drop_in: bool,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let system = &arguments.system;
    if system.drop_in {
        return drop_in::write_for(config, system.root.as_deref().unwrap_or(Path::new("/")));
    }
    let is_system = rustix::process::geteuid().is_root() || system.root.is_some();
    match &arguments.dir {
        None if is_system => system::make(system, arguments.store_identity),
        dir => own_folder(dir.as_deref().unwrap_or(Path::new("veild-site")), arguments.store_identity),
    }
}

fn own_folder(dir: &Path, store_identity: bool) -> anyhow::Result<()> {
    let site = make_site(dir)?;
    println!("wrote {}", site.config.display());
    give_out(&site.identity, store_identity.then(|| dir.join("identity.txt")).as_deref(), "the vault")?;
    let file = store_identity.then(|| dir.join("audit-secret.txt"));
    give_out_audit_secret(&site.audit_secret, file.as_deref())?;
    println!("next: veild --config {0} check && veild --config {0} run", site.config.display());
    Ok(())
}

/// Shows an identity, or keeps it in a file where that was asked for.
fn give_out(identity: &str, file: Option<&Path>, opens: &str) -> anyhow::Result<()> {
    match file {
        Some(path) => {
            write_new_synced(path, 0o600, format!("{identity}\n").as_bytes())?;
            println!("the age identity that opens {opens} is in {}; take it off this host", path.display());
        }
        None => println!("\nThe age identity that opens {opens}; shown once, kept nowhere:\n\n{identity}\n"),
    }
    Ok(())
}

/// Shows the audit trail's secret, or keeps it in a file where that was asked for.
pub fn give_out_audit_secret(secret: &Secret, file: Option<&Path>) -> anyhow::Result<()> {
    let text = secret.text();
    match file {
        Some(path) => {
            write_new_synced(path, 0o600, format!("{}\n", text.as_str()).as_bytes())?;
            println!("the secret that checks the audit trail is in {}; take it off this host", path.display());
        }
        None => println!(
            "\nThe secret that checks the audit trail (`veild audit verify --secret F`); shown once, kept nowhere:\n\n{}\n",
            text.as_str()
        ),
    }
    Ok(())
}

/// A freshly made site.
pub struct Site {
    pub config: PathBuf,
    pub identity: String,
    pub audit_secret: Secret,
}

/// Makes directories, keys and a configuration with one landing below `dir`.
pub fn make_site(dir: &Path) -> anyhow::Result<Site> {
    create_dir_durable(dir, 0o750)?;
    let dir = fs::canonicalize(dir).with_context(|| format!("cannot find {}", dir.display()))?;
    dir.to_str().context("the folder's path must be UTF-8")?;
    let config = dir.join("config.toml");
    anyhow::ensure!(!config.exists(), "{} is already there; veild overwrites nothing", config.display());
    for (name, mode) in [("landing", LANDING_MODE), ("state", 0o750), ("vault", 0o750), ("audit", 0o750)] {
        make_dir(&dir.join(name), mode)?;
    }
    crate::keys::generate_masking(&dir.join("masking.key"), Timestamp::now())?;
    crate::keys::generate_signing(&dir.join("signing.key"))?;
    let audit_secret = Secret::generate();
    EpochKey::create(&dir.join("state/audit-epoch.key"), &audit_secret)?;
    let identity = age::x25519::Identity::generate();
    let draft = Draft {
        state: dir.join("state"),
        vault: dir.join("vault"),
        audit: dir.join("audit"),
        masking: dir.join("masking.key"),
        signing: dir.join("signing.key"),
        min_free: Some("64MiB"),
        log_format: "text",
        quiet: "1s",
        landings: vec![("people".to_owned(), dir.join("landing"))],
        recipients: vec![identity.to_public().to_string()],
        quarantine: Vec::new(),
    };
    write_new_synced(&config, 0o640, draft.render().as_bytes())?;
    Ok(Site { config, identity: identity.to_string().expose_secret().to_owned(), audit_secret })
}

/// Makes a directory with exactly this mode, which mkdir(2) and the umask would take bits from; one that is there keeps
/// its own.
fn make_dir(dir: &Path, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !dir.exists() {
        create_dir_durable(dir, 0o700)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).at("set the mode of", dir)?;
    }
    Ok(())
}
