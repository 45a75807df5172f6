//! `[recipients.NAME]`: readers under one name, and whether anything may be sealed to them.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{Config, Landing};

/// How a list of recipients names a group.
pub const GROUP_PREFIX: &str = "group:";

/// Readers under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    /// Each once; may be none. Of a passphrase: `passphrase:NAME`.
    pub recipients: Vec<String>,
    /// The file of a passphrase, which `credential:NAME` is resolved to here.
    pub passphrase: Option<PathBuf>,
    /// From this moment on nothing is sealed to it.
    pub expires: Option<Timestamp>,
}

/// Why nothing may be sealed to a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    #[error("[recipients.{0}] is empty: put somebody in, then reload")]
    Empty(String),
    #[error(
        "[recipients.{0}] has expired at {1}: go over who is in it, set `expires` anew or take it out, then reload"
    )]
    Expired(String, Timestamp),
}

impl GroupFault {
    /// The stable code of its log line.
    pub fn code(&self) -> &'static str {
        match self {
            GroupFault::Empty(_) => "recipients_empty",
            GroupFault::Expired(..) => "recipients_expired",
        }
    }
}

impl Group {
    /// Its recipients, at least one, if something may be sealed to them at this moment.
    pub fn in_force(&self, now: Timestamp) -> Result<&[String], GroupFault> {
        match self.expires {
            Some(at) if now >= at => Err(GroupFault::Expired(self.name.clone(), at)),
            _ if self.recipients.is_empty() => Err(GroupFault::Empty(self.name.clone())),
            _ => Ok(&self.recipients),
        }
    }
}

impl Config {
    /// The first group with a fault that a landing's files depend on: of its outputs, of its archive, or of the
    /// quarantine, to which any of them may go.
    pub fn group_fault(&self, landing: &Landing, now: Timestamp) -> Option<GroupFault> {
        self.fault_of(landing.groups.iter().chain(&self.quarantine.groups), now)
    }

    /// The same for files that go to the quarantine.
    pub fn quarantine_fault(&self, now: Timestamp) -> Option<GroupFault> {
        self.fault_of(self.quarantine.groups.iter(), now)
    }

    fn fault_of<'a>(&self, mut names: impl Iterator<Item = &'a String>, now: Timestamp) -> Option<GroupFault> {
        names.find_map(|name| self.groups.get(name)?.in_force(now).err())
    }

    /// Whether a landing or the quarantine names this group.
    pub fn uses_group(&self, name: &str) -> bool {
        let of_landings = self.landings.iter().flat_map(|landing| &landing.groups);
        of_landings.chain(&self.quarantine.groups).any(|used| used == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_in_force_until_the_moment_it_expires() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let group = |recipients: &[&str], expires| Group {
            name: "analysts".to_owned(),
            recipients: recipients.iter().map(|it| (*it).to_owned()).collect(),
            passphrase: None,
            expires,
        };
        assert_eq!(group(&["age1"], None).in_force(at(0)), Ok(&["age1".to_owned()][..]));
        assert!(group(&["age1"], Some(at(10))).in_force(at(9)).is_ok());
        let expired = group(&[], Some(at(10))).in_force(at(10)).unwrap_err();
        assert_eq!(
            (expired.code(), &expired),
            ("recipients_expired", &GroupFault::Expired("analysts".to_owned(), at(10)))
        );
        assert_eq!(group(&[], Some(at(10))).in_force(at(9)).unwrap_err().code(), "recipients_empty");
    }
}
