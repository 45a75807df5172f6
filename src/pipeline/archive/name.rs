//! Names of members: only those that stay within the directory in which the archive is unpacked.

use std::ffi::OsStr;

use crate::pipeline::fault::of_file;
use crate::pipeline::{Fault, Writing};

/// Longest name in bytes.
const LONGEST: usize = 4096;

/// # Errors
///
/// A [`Fault`] for a name that leads elsewhere, or that systems read differently.
pub(super) fn check(name: &str) -> Result<(), Fault> {
    let is_elsewhere = name.starts_with('/') || name.split('/').any(|part| part == "..");
    let is_doubtful = name.is_empty()
        || name.len() > LONGEST
        || name.contains(['\\', ':'])
        || name.chars().any(char::is_control)
        || name.split('/').any(|part| part.is_empty() || part == ".");
    match (is_elsewhere, is_doubtful) {
        (true, _) => Err(unsafe_member("its name leads out of the archive")),
        (_, true) => Err(unsafe_member("its name is read differently by different systems")),
        _ => Ok(()),
    }
}

/// The name of what becomes of a member.
pub(super) fn of_output(name: &str, writing: Writing) -> String {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let made = writing.name_of_output(OsStr::new(&name[last..]));
    format!("{}{}", &name[..last], made.to_string_lossy())
}

fn unsafe_member(what: &str) -> Fault {
    of_file("unsafe_member", what, super::ADVICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_goes_out_under_another_name() {
        let same = |name| of_output(name, Writing::default());
        assert_eq!((same("a.b/c.XLSX").as_str(), same("a.xlsx/b").as_str()), ("a.b/c.csv", "a.xlsx/b"));
    }

    #[test]
    fn names_stay_within() {
        for name in ["a.csv", "a/b.csv", "Łódź 2024.csv", "..a", "a..b/c"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in
            ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "c:\\x", "a\\b", "a\nb", "a/", &"x".repeat(5000)]
        {
            assert_eq!(check(name).map_err(|fault| fault.code), Err("unsafe_member".to_owned()), "{name}");
        }
    }
}
