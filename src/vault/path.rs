//! Names of objects: printable, bounded, and never leaving the vault.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::Offset;

use super::ARCHIVE;
use super::list::Day;

use crate::fsutil::printable_name;
use crate::job::JobId;

const NAME_MAX: usize = 255;
/// The longest thing that is put behind `<stem>.<job>.<ext>`.
const LONGEST_SUFFIX: &str = ".receipt.json.sig";
/// A longer "extension" is part of a sentence; it stays in the stem.
const EXTENSION_MAX: usize = 64;
/// Bytes of sub path kept, so that an uploader's deep tree cannot pass PATH_MAX; jobs keep names distinct.
const SUB_PATH_MAX: usize = 1024;
const COMPRESSIONS: [&str; 4] = ["gz", "zst", "bz2", "xz"];

/// See [`super::object_path`].
pub(super) fn object_path(
    landing: &str,
    sub_path: &Path,
    job: JobId,
    original: &OsStr,
    view: Option<&str>,
    opaque: bool,
) -> PathBuf {
    let mut path = day(landing, job);
    if opaque {
        path.push(format!("{job}{}.age", view_part(view)));
        return path;
    }
    let mut length = 0;
    for part in sub_path.components() {
        let name = match part {
            Component::Normal(name) => component(name),
            Component::ParentDir => component(OsStr::new("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => continue,
        };
        length += name.len() + 1;
        if length > SUB_PATH_MAX {
            break;
        }
        path.push(name);
    }
    path.push(file_name(job, original, view));
    path
}

/// Directory of all objects that a landing's jobs of one day have, relative to the vault.
pub(super) fn day(landing: &str, job: JobId) -> PathBuf {
    let date = Offset::UTC.to_datetime(job.claim_time());
    let mut path = PathBuf::from(component(OsStr::new(landing)));
    path.push(format!("{:04}", date.year()));
    path.push(format!("{:02}", date.month()));
    path.push(format!("{:02}", date.day()));
    path
}

/// The day's directory that a path below the vault is or lies in.
pub(super) fn day_of(path: &Path) -> Option<Day> {
    let top = if path.starts_with(ARCHIVE) { Path::new(ARCHIVE) } else { Path::new("") };
    let mut parts = path.strip_prefix(top).ok()?.iter().map(|part| part.to_str());
    let (landing, year, month, day) = (parts.next()??, parts.next()??, parts.next()??, parts.next()??);
    let is_spelled = [(year, 4), (month, 2), (day, 2)].iter().all(|(text, length)| text.len() == *length);
    let date = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok().filter(|_| is_spelled)?;
    let path = top.join(landing).join(year).join(month).join(day);
    Some(Day { date, landing: landing.to_owned(), path })
}

fn view_part(view: Option<&str>) -> String {
    view.map_or_else(String::new, |view| format!(".{view}"))
}

fn file_name(job: JobId, original: &OsStr, view: Option<&str>) -> String {
    let view = view_part(view);
    let name = safe(original);
    let (stem, extension) = split(&name);
    let tail = match extension {
        Some(extension) => format!(".{job}{view}.{extension}"),
        None => format!(".{job}{view}"),
    };
    format!("{}{tail}.age", shorten(stem, NAME_MAX - LONGEST_SUFFIX.len() - tail.len()))
}

/// Stem and extension; a compression suffix is joined with the extension before it.
fn split(name: &str) -> (&str, Option<&str>) {
    let Some((stem, last)) = cut(name) else { return (name, None) };
    if COMPRESSIONS.contains(&last.to_ascii_lowercase().as_str())
        && let Some((inner, before)) = cut(stem)
        && before.len() + 1 + last.len() <= EXTENSION_MAX
    {
        return (inner, Some(&name[inner.len() + 1..]));
    }
    (stem, Some(last))
}

/// Cuts at the last dot, unless nothing stands before or behind it.
fn cut(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.').filter(|(stem, last)| !stem.is_empty() && !last.is_empty() && last.len() <= EXTENSION_MAX)
}

fn safe(name: &OsStr) -> String {
    printable_name(name).replace('/', "%2F")
}

fn component(name: &OsStr) -> String {
    let text = safe(name);
    match text.as_str() {
        "" => "%".to_owned(),
        "." | ".." => text.replace('.', "%2E"),
        _ => shorten(&text, NAME_MAX).to_owned(),
    }
}

/// The longest beginning of at most `max` bytes that cuts neither a character nor a `%XX`.
fn shorten(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if let Some(percent) = text[..end].rfind('%')
        && percent + 3 > end
    {
        end = percent;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn job() -> JobId {
        JobId::claimed_at(Timestamp::from_second(1_760_000_000).unwrap())
    }

    #[test]
    fn names_follow_the_design() {
        let job = job();
        for (original, name) in [
            ("people.csv", "people.J.csv.age"),
            ("people.csv.gz", "people.J.csv.gz.age"),
            ("people.gz", "people.J.gz.age"),
            ("people", "people.J.age"),
            (".profile", ".profile.J.age"),
            ("..", "...J.age"),
            ("../x.csv", "..%2Fx.J.csv.age"),
        ] {
            assert_eq!(file_name(job, OsStr::new(original), None).replace(&job.to_string(), "J"), name);
        }
        let path = object_path("l", Path::new("a/../b\n/./c"), job, OsStr::new("x.csv"), None, false);
        assert_eq!(path, PathBuf::from(format!("l/2025/10/09/a/%2E%2E/b%0A/c/x.{job}.csv.age")));
        let path = object_path("..", Path::new("secret"), job, OsStr::new("x.csv"), None, true);
        assert_eq!(path, PathBuf::from(format!("%2E%2E/2025/10/09/{job}.age")));
        let view =
            |original: &str, opaque| object_path("l", Path::new(""), job, OsStr::new(original), Some("fraud"), opaque);
        assert_eq!(view("x.csv.gz", false), PathBuf::from(format!("l/2025/10/09/x.{job}.fraud.csv.gz.age")));
        assert_eq!(view("x", false), PathBuf::from(format!("l/2025/10/09/x.{job}.fraud.age")));
        assert_eq!(view("x.csv", true), PathBuf::from(format!("l/2025/10/09/{job}.fraud.age")));
    }

    #[test]
    fn no_sibling_is_too_long() {
        for original in ["ż".repeat(127) + ".csv.gz", "\n".repeat(255), "a.".to_owned() + &"b".repeat(250)] {
            let view = "v".repeat(63);
            let name = file_name(
                job(),
                OsStr::new(&original),
                Some(&view).filter(|_| original.len() > 240).map(String::as_str),
            );
            let longest = name.strip_suffix(".age").unwrap().len() + LONGEST_SUFFIX.len();
            assert!((250..=255).contains(&longest), "{name} {longest}");
        }
        assert_eq!(shorten("ab%0A", 4), "ab");
    }
}
