//! The command line: one file per command, each a thin shell around the library.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, ConfigError, GROUP_PREFIX};
use crate::keys::Passphrases;
use crate::seal::{PASSPHRASE_PREFIX, Readers, Recipients, canonical, discord, plugin, plugin_of};

#[macro_use]
mod out;

mod audit;
mod check;
mod completions;
mod demo;
mod detect;
mod hand_out;
mod identity;
mod init;
mod key;
mod man;
mod mask;
mod memory;
mod policy;
mod progress;
mod quarantine;
mod reading;
mod receipt;
mod record;
mod run;
mod schema;
mod status;
mod token;
mod unit;
mod vault;
mod when;
mod who;

use out::{NO_OUTPUT, print_json, write_out};
use record::{as_service, record, record_all, record_on_site, recorded_if_failed, site};
use who::user;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the check found problems; \
                          78 the configuration is wrong";

/// Where a daemon finds its configuration when nobody says so.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/veild/config.toml";

/// Masks the personal data in every file that lands, seals it with age, and keeps a tamper-evident audit trail.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
struct Arguments {
    /// Configuration file
    #[arg(long, global = true, env = "VEILD_CONFIG", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::Arguments),
    /// Show the whole system in one minute on built-in data
    Demo(demo::Arguments),
    /// Make a ready configuration, directories and keys
    Init(init::Arguments),
    /// Validate configuration, keys and directories, and say how to fix each finding
    Check(check::Arguments),
    /// Mask and seal files once, through the same pipeline
    Mask(mask::Arguments),
    /// Find the classes of personal data in a file's columns; shows no value
    Detect(detect::Arguments),
    /// Suggest policies and try them out
    #[command(subcommand)]
    Policy(policy::Arguments),
    /// Is all well, and if not, what is to be done?
    Status(status::Arguments),
    /// Rejected files
    #[command(subcommand)]
    Quarantine(quarantine::Arguments),
    /// Sealed objects and their receipts
    #[command(subcommand)]
    Vault(vault::Arguments),
    /// What was done to a file
    #[command(subcommand)]
    Receipt(receipt::Arguments),
    /// Reversible pseudonyms
    #[command(subcommand)]
    Token(token::Arguments),
    /// The audit trail
    #[command(subcommand)]
    Audit(audit::Arguments),
    /// Masking and signing keys
    #[command(subcommand)]
    Key(key::Arguments),
    /// JSON Schema of the configuration or of receipts, for editors and other checks
    Schema(schema::Arguments),
    /// Completion script for a shell
    Completions(completions::Arguments),
    /// Man pages of all commands
    Man(man::Arguments),
    #[command(hide = true)]
    Worker,
    #[command(hide = true)]
    Plugin,
}

impl Command {
    /// Whether it is to be guarded before it begins; daemon, worker and plugin see to that themselves.
    fn reads_secrets(&self) -> bool {
        !matches!(
            self,
            Command::Run(_)
                | Command::Demo(_)
                | Command::Worker
                | Command::Plugin
                | Command::Schema(_)
                | Command::Completions(_)
                | Command::Man(_)
        )
    }
}

/// Exit code of a configuration error.
const CONFIGURATION: u8 = 78;

/// Checks found problems: a leak, a broken chain, a bad object.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Problems(pub(crate) String);

/// Arguments that do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) &'static str);

/// Parses, dispatches and turns the outcome into an exit code: 0 done, 1 failed, 2 usage, 3 problems found,
/// 78 configuration error.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            let mut say = std::io::stderr();
            if !text.is_empty() {
                let _ = writeln!(say, "veild: {text}"); // nobody may be reading
            }
            if text.contains("Permission denied") && !rustix::process::geteuid().is_root() {
                let _ = writeln!(say, "veild: run it as root, or as the user that the daemon runs as");
            }
            if ["No space left on device", "disk is full"].iter().any(|full| text.contains(full)) {
                let _ = writeln!(say, "veild: make room there, and give the command again");
            }
            if error.is::<Usage>() {
                let _ = writeln!(say, "\nFor more information, try '--help'.");
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        2
    } else if error.is::<ConfigError>() {
        CONFIGURATION
    } else if error.is::<Problems>() {
        3
    } else {
        1
    }
}

/// The command line as a value, for what is generated from it.
fn command() -> clap::Command {
    Arguments::command()
}

fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    // The demo has a daemon to stop, and the others have sockets and pipes whose ends may go.
    if !matches!(arguments.command, Command::Run(_) | Command::Worker | Command::Plugin | Command::Demo(_)) {
        end_with_the_reader();
    }
    if arguments.command.reads_secrets() {
        crate::plaintext::guard()?;
    } else if !matches!(arguments.command, Command::Run(_) | Command::Worker | Command::Plugin) {
        crate::plaintext::silence_panics();
    }
    let config = &arguments.config;
    if matches!(arguments.command, Command::Mask(_) | Command::Detect(_) | Command::Policy(_)) {
        memory::hold_to_that_of_a_worker(config)?;
    }
    match arguments.command {
        Command::Run(run) => run::run(config, &run),
        Command::Demo(demo) => demo::run(&demo),
        Command::Init(init) => init::run(config, &init),
        Command::Check(check) => check::run(config, &check),
        Command::Mask(mask) => mask::run(config, &mask),
        Command::Detect(detect) => detect::run(config, &detect),
        Command::Policy(policy) => policy::run(config, &policy),
        Command::Status(status) => status::run(config, &status),
        Command::Quarantine(quarantine) => quarantine::run(config, &quarantine),
        Command::Vault(vault) => vault::run(config, &vault),
        Command::Receipt(receipt) => receipt::run(config, &receipt),
        Command::Token(token) => token::run(config, &token),
        Command::Audit(audit) => audit::run(config, &audit),
        Command::Key(key) => key::run(config, &key),
        Command::Schema(schema) => schema::run(&schema),
        Command::Completions(completions) => completions::run(&completions),
        Command::Man(man) => man::run(&man),
        Command::Plugin => Ok(crate::seal::plugin::serve()?),
        Command::Worker => Ok(crate::worker::serve::serve(&worker_socket()?)?),
    }
}

/// `veild audit tail | head` ends like every other tool when nobody reads on; Rust's own choice is a panic. Pipes within the
/// program are no reason to end: a file that is refused has a reader that goes before its writer.
fn end_with_the_reader() {
    extern "C" fn broken_pipe(_: libc::c_int) {
        let mut standard =
            [libc::STDOUT_FILENO, libc::STDERR_FILENO].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
        // SAFETY: what is polled outlives the call; all three calls are allowed in signal handlers.
        unsafe {
            libc::poll(standard.as_mut_ptr(), standard.len() as libc::nfds_t, 0);
            if standard.iter().any(|it| it.revents & libc::POLLERR != 0) {
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                libc::raise(libc::SIGPIPE);
            }
        }
    }
    let handler: extern "C" fn(libc::c_int) = broken_pipe;
    // SAFETY: no other thread runs yet, and the handler makes only calls that handlers may make.
    unsafe { libc::signal(libc::SIGPIPE, handler as libc::sighandler_t) };
}

fn worker_socket() -> anyhow::Result<std::os::unix::net::UnixStream> {
    use std::os::fd::AsFd;
    Ok(std::io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// The key that signatures are checked with.
fn verifying_key(config: &Config, given: Option<&Path>) -> anyhow::Result<crate::keys::VerifyingKey> {
    use crate::keys::VerifyingKey;
    Ok(given.map_or_else(|| VerifyingKey::of_signing_key(&config.keys.signing), VerifyingKey::load)?)
}

/// A count with its noun.
fn plural(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A policy by its name in the configuration, or by the path of a TOML file.
fn find_policy(config: &Path, policy: &str) -> anyhow::Result<crate::policy::Policy> {
    if policy.contains('/') || policy.ends_with(".toml") {
        return Ok(crate::config::load_policy_file(Path::new(policy))?);
    }
    let config = Config::load(config)?;
    config.policies.get(policy).cloned().ok_or_else(|| {
        let known: Vec<&str> = config.policies.keys().map(String::as_str).collect();
        anyhow::anyhow!("there is no policy {policy:?}; {} has: {}", config.path.display(), known.join(", "))
    })
}

/// Recipients given on the command line: with the members of `group:NAME` in the place of its name, and with plugins where the
/// configuration allows them.
fn find_recipients(config: &Path, given: &[String]) -> anyhow::Result<(Vec<String>, Recipients)> {
    let asks_configuration = |it: &String| it.starts_with(GROUP_PREFIX) || plugin_of(it).is_some();
    if !given.iter().any(asks_configuration) {
        return Ok((given.to_vec(), Recipients::parse(given)?));
    }
    let config = Config::load(config)?;
    let mut found: Vec<String> = Vec::new();
    for recipient in given {
        let Some(name) = recipient.strip_prefix(GROUP_PREFIX) else {
            found.push(recipient.clone());
            continue;
        };
        let Some(group) = config.groups.get(name) else {
            anyhow::bail!("there is no [recipients.{name}] in {}", config.path.display());
        };
        for member in group.in_force(jiff::Timestamp::now())? {
            // Somebody may be in two groups.
            if !found.iter().any(|known| canonical(known) == canonical(member)) {
                found.push(member.clone());
            }
        }
    }
    if let Some(discord) = discord(&found) {
        anyhow::bail!(discord);
    }
    let has_passphrase = found.iter().any(|it| it.starts_with(PASSPHRASE_PREFIX));
    let passphrases = if has_passphrase { Passphrases::load(&config)? } else { Passphrases::default() };
    let runner = plugin::runner(config.daemon.allow_plugins);
    let recipients = Recipients::of(&Readers::new(&found, &passphrases), &runner)?;
    Ok((found, recipients))
}

/// The configuration's masking key, or one given by path.
fn masking_keys(config: &Path, key: Option<&Path>) -> anyhow::Result<crate::keys::MaskingKeys> {
    let source = match key {
        Some(path) => crate::keys::KeySource::File(path.to_owned()),
        None => Config::load(config)?.keys.masking,
    };
    Ok(crate::keys::MaskingKeys::from_source(&source)?)
}

/// A reason for the audit trail, which must say something.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why; the audit trail keeps it".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_keys_or_plaintext_is_guarded() {
        let job = crate::job::JobId::claimed_at(jiff::Timestamp::now()).to_string();
        for (words, is_guarded) in [
            (vec!["check"], true),
            (vec!["receipt", "show", &job], true),
            (vec!["key", "list"], true),
            (vec!["man"], false),
            (vec!["run"], false),
        ] {
            let arguments = Arguments::try_parse_from(["veild"].into_iter().chain(words.iter().copied()));
            let command = arguments.unwrap_or_else(|error| panic!("{words:?}: {error}")).command;
            assert_eq!(command.reads_secrets(), is_guarded, "{words:?}");
        }
    }
}
