//! What the installed systemd unit lets the service do: as much of it as `check` and `init` have to know.

use std::fs;
use std::path::{Path, PathBuf};

pub mod network;

use network::Network;

/// Where systemd looks for units, most important first.
const UNIT_DIRS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
pub const NAME: &str = "veild.service";
/// The unit that comes with veild.
pub const SHIPPED: &str = include_str!("../../systemd/veild.service");

/// A unit with its drop-ins.
#[derive(Debug, Default, PartialEq)]
pub struct Unit {
    pub path: PathBuf,
    pub user: String,
    /// The configuration that ExecStart= names, if it names one.
    pub config: Option<PathBuf>,
    pub ambient: Vec<String>,
    pub private_users: bool,
    pub network: Network,
    writable: Vec<PathBuf>,
    bound: Vec<PathBuf>,
    strict: bool,
    home: Home,
    private_tmp: bool,
}

/// ProtectHome=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Home {
    #[default]
    Open,
    ReadOnly,
    Hidden,
}

/// What keeps the service from a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// ProtectHome=
    Home,
    /// PrivateTmp=
    Tmp,
    /// ProtectSystem=strict without ReadWritePaths=
    ReadOnly,
}

impl Unit {
    /// The installed unit below `root`.
    pub fn installed(root: &Path) -> Option<Unit> {
        Unit::installed_without(root, None)
    }

    /// The installed unit without one of its drop-ins.
    pub fn installed_without(root: &Path, left_out: Option<&Path>) -> Option<Unit> {
        let path = UNIT_DIRS.iter().map(|dir| root.join(dir).join(NAME)).find(|path| path.exists())?;
        let name = format!("{NAME}.d");
        let drop_ins = UNIT_DIRS.iter().rev().flat_map(|dir| conf_files(&root.join(dir).join(&name)));
        Unit::read(&path, drop_ins.filter(|path| Some(path.as_path()) != left_out))
    }

    /// The unit that comes with veild.
    pub fn shipped() -> Unit {
        let mut unit = Unit { user: "root".to_owned(), ..Unit::default() };
        unit.apply(SHIPPED);
        unit
    }

    /// A unit file with the drop-ins in the directory beside it.
    pub fn at(path: &Path) -> Option<Unit> {
        let mut dir = path.as_os_str().to_owned();
        dir.push(".d");
        Unit::read(path, conf_files(Path::new(&dir)).into_iter())
    }

    fn read(path: &Path, drop_ins: impl Iterator<Item = PathBuf>) -> Option<Unit> {
        let mut unit = Unit { path: path.to_owned(), user: "root".to_owned(), ..Unit::default() };
        unit.apply(&fs::read_to_string(path).ok()?);
        drop_ins.filter_map(|path| fs::read_to_string(path).ok()).for_each(|text| unit.apply(&text));
        Some(unit)
    }

    fn apply(&mut self, text: &str) {
        let mut in_service = false;
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if line.starts_with('[') {
                in_service = line == "[Service]";
            } else if in_service
                && !line.starts_with(['#', ';'])
                && let Some((key, value)) = line.split_once('=')
            {
                self.set(key.trim(), value.trim());
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let is_yes = matches!(value, "yes" | "true" | "on" | "1");
        match key {
            "User" => self.user = value.to_owned(),
            "ExecStart" => self.config = config_of(value),
            "AmbientCapabilities" => extend(&mut self.ambient, value, |word| word.to_owned()),
            "PrivateUsers" => self.private_users = is_yes,
            "PrivateTmp" => self.private_tmp = is_yes || value == "disconnected",
            "ProtectSystem" => self.strict = value == "strict",
            "ProtectHome" => {
                self.home = match value {
                    "read-only" => Home::ReadOnly,
                    "tmpfs" => Home::Hidden,
                    _ if is_yes => Home::Hidden,
                    _ => Home::Open,
                }
            }
            "ReadWritePaths" => extend(&mut self.writable, value, path),
            "BindPaths" => extend(&mut self.bound, value, |word| path(word.split(':').nth(1).unwrap_or(word))),
            "StateDirectory" => extend(&mut self.writable, value, |word| Path::new("/var/lib").join(word)),
            "LogsDirectory" => extend(&mut self.writable, value, |word| Path::new("/var/log").join(word)),
            "CacheDirectory" => extend(&mut self.writable, value, |word| Path::new("/var/cache").join(word)),
            "RuntimeDirectory" => extend(&mut self.writable, value, |word| Path::new("/run").join(word)),
            _ => self.network.set(key, value),
        }
    }

    /// What keeps the service from writing to a path; for reading see [`Unit::hides`].
    pub fn keeps_from(&self, path: &Path) -> Option<Barrier> {
        let below = |dirs: &[PathBuf]| dirs.iter().any(|dir| path.starts_with(dir));
        if let Some(barrier) = self.hides(path) {
            return Some(barrier);
        }
        if below(&self.writable) || below(&self.bound) {
            return None;
        }
        match self.home {
            Home::ReadOnly if is_home(path) => Some(Barrier::Home),
            _ => self.strict.then_some(Barrier::ReadOnly),
        }
    }

    /// What keeps the service from seeing a path at all.
    pub fn hides(&self, path: &Path) -> Option<Barrier> {
        if self.bound.iter().any(|dir| path.starts_with(dir)) {
            return None;
        }
        let is_tmp = ["/tmp", "/var/tmp"].iter().any(|dir| path.starts_with(dir));
        match self.home {
            Home::Hidden if is_home(path) => Some(Barrier::Home),
            _ => (self.private_tmp && is_tmp).then_some(Barrier::Tmp),
        }
    }

    /// Whether systemd makes this directory for the service.
    pub fn makes(&self, dir: &Path) -> bool {
        self.writable.iter().any(|made| made == dir && (dir.starts_with("/var/lib") || dir.starts_with("/var/log")))
    }
}

fn is_home(path: &Path) -> bool {
    ["/home", "/root", "/run/user"].iter().any(|dir| path.starts_with(dir))
}

/// An empty value forgets what stood before.
fn extend<T>(list: &mut Vec<T>, value: &str, parse: impl Fn(&str) -> T) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(words(value).iter().map(|word| parse(word)));
}

/// Words between spaces; double quotes keep spaces together.
fn words(value: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for character in value.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => words.push(String::new()),
            other => words.last_mut().expect("never empty").push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Without the prefixes `-` (may be missing) and `+` (below the unit's root), and with `%%` for `%`.
fn path(word: &str) -> PathBuf {
    word.trim_start_matches(['-', '+']).replace("%%", "%").into()
}

fn config_of(command: &str) -> Option<PathBuf> {
    let mut words = command.split_whitespace();
    while let Some(word) = words.next() {
        if let Some(path) = word.strip_prefix("--config=") {
            return Some(path.into());
        }
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
    }
    None
}

fn conf_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == "conf")).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_unit_reaches_its_own_directories_and_no_others() {
        let unit = Unit::shipped();
        assert_eq!((unit.user.as_str(), unit.config.clone()), ("veild", None));
        assert_eq!(unit.ambient, ["CAP_LEASE", "CAP_DAC_READ_SEARCH"]);
        assert!(!unit.private_users && unit.makes(Path::new("/var/lib/veild")));
        for (path, barrier) in [
            ("/var/lib/veild/vault", None),
            ("/var/log/veild/audit", None),
            ("/srv/landing/hr", None),
            ("/srv/landings", Some(Barrier::ReadOnly)),
            ("/data/in", Some(Barrier::ReadOnly)),
            ("/home/ann/in", Some(Barrier::Home)),
            ("/tmp/in", Some(Barrier::Tmp)),
        ] {
            assert_eq!(unit.keeps_from(Path::new(path)), barrier, "{path}");
        }
    }

    #[test]
    fn drop_ins_add_and_reset() {
        let mut unit = Unit::shipped();
        unit.apply(
            "[Service]\nReadWritePaths=-/data/in \\\n  \"/data/50%% off\"\nProtectHome=tmpfs\nBindPaths=/home/ann/in\n",
        );
        assert_eq!(unit.keeps_from(Path::new("/data/in/hr")), None);
        assert_eq!(unit.keeps_from(Path::new("/data/50% off")), None);
        assert_eq!(unit.keeps_from(Path::new("/home/ann/in")), None);
        assert_eq!(unit.keeps_from(Path::new("/home/bob/in")), Some(Barrier::Home));
        unit.apply(
            "[Unit]\nReadWritePaths=/\n[Service]\n# ReadWritePaths=/\nReadWritePaths=\nExecStart=/x --config /y run",
        );
        assert_eq!(unit.keeps_from(Path::new("/data/in")), Some(Barrier::ReadOnly));
        assert_eq!(unit.config.as_deref(), Some(Path::new("/y")));
    }
}
