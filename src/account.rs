//! Accounts of the system, and a thread that sees the file system with the eyes of one.

use std::ffi::{CStr, CString};
use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Room for one entry of the user database.
const ENTRY_BYTES: usize = 16 << 10;

/// A user with its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// The name of `gid`.
    pub group: String,
    /// All groups, `gid` among them.
    pub groups: Vec<u32>,
}

impl Account {
    /// The account of this name, if there is one.
    pub fn named(name: &str) -> Option<Account> {
        let name = CString::new(name).ok()?;
        find(|entry, buffer, found| {
            // SAFETY: all pointers are valid for the call, and the length is that of the buffer.
            unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), found) }
        })
    }

    /// The account with this number; one without an entry has a number only.
    pub fn numbered(uid: u32) -> Account {
        let found = find(|entry, buffer, found| {
            // SAFETY: all pointers are valid for the call, and the length is that of the buffer.
            unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), found) }
        });
        found.unwrap_or_else(|| Account {
            name: uid.to_string(),
            uid,
            gid: uid,
            group: uid.to_string(),
            groups: vec![uid],
        })
    }

    /// The account of this process.
    pub fn own() -> Account {
        Account::numbered(rustix::process::geteuid().as_raw())
    }

    /// Does something as this account, with these capabilities: root in a thread of its own, others as what they are.
    pub fn does<T: Send>(&self, capabilities: CapabilitySet, deed: impl FnOnce() -> T + Send) -> io::Result<T> {
        if !rustix::process::geteuid().is_root() || self.uid == 0 {
            return Ok(deed());
        }
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.become_with(capabilities).map(|()| deed()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Changes this thread alone: the system calls behind these are per thread, and the thread ends after its deed.
    fn become_with(&self, capabilities: CapabilitySet) -> io::Result<()> {
        use rustix::process::{Gid, Uid};
        use rustix::thread::{
            capabilities as current, set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
        };
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(None, Gid::from_raw(self.gid), None)?;
        // The real user stays root: what is permitted stays permitted, and is no longer in effect.
        set_thread_res_uid(None, Uid::from_raw(self.uid), None)?;
        let sets = current(None)?;
        let effective = capabilities & sets.permitted;
        Ok(set_capabilities(None, CapabilitySets { effective, ..sets })?)
    }
}

type Found = *mut *mut libc::passwd;

fn find(ask: impl Fn(*mut libc::passwd, &mut [libc::c_char], Found) -> i32) -> Option<Account> {
    let mut buffer = vec![0; ENTRY_BYTES];
    // SAFETY: a passwd of zeros is a valid one: integers, and pointers that may be null.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    if ask(&mut entry, &mut buffer, &mut found) != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the entry was found, so its name points into the buffer, which is still there.
    let name = unsafe { CStr::from_ptr(entry.pw_name) };
    Some(Account {
        name: name.to_string_lossy().into_owned(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        group: group_name(entry.pw_gid),
        groups: groups(name, entry.pw_gid),
    })
}

/// The number of a group.
pub fn group(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0; ENTRY_BYTES];
    // SAFETY: a group of zeros is a valid one: integers, and pointers that may be null.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the length is that of the buffer.
    let failed = unsafe { libc::getgrnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found) };
    (failed == 0 && !found.is_null()).then_some(entry.gr_gid)
}

fn group_name(gid: u32) -> String {
    let mut buffer = vec![0; ENTRY_BYTES];
    // SAFETY: a group of zeros is a valid one: integers, and pointers that may be null.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the length is that of the buffer.
    let failed = unsafe { libc::getgrgid_r(gid, &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found) };
    if failed != 0 || found.is_null() {
        return gid.to_string();
    }
    // SAFETY: the entry was found, so its name points into the buffer, which is still there.
    unsafe { CStr::from_ptr(entry.gr_name) }.to_string_lossy().into_owned()
}

fn groups(name: &CStr, gid: u32) -> Vec<u32> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = groups.len() as libc::c_int;
        // SAFETY: the list has room for `count` groups, and the call writes no more.
        let written = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if written >= 0 || count <= groups.len() {
            groups.truncate(count);
            return groups;
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let root = Account::named("root").unwrap();
        assert_eq!((root.uid, root.gid, root.groups.contains(&0)), (0, 0, true));
        assert_eq!(Account::numbered(0), root);
        assert_eq!(Account::named("no such account"), None);
        assert_eq!(Account::numbered(4_000_000_000).name, "4000000000");
    }

    #[test]
    fn a_deed_is_done_as_the_account_and_the_others_stay_root() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("SKIPPED: needs root");
        }
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap(); // mode 0700
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let nobody = Account::numbered(65534);
        let read = || std::fs::read(&file).is_ok();
        let write = || std::fs::write(&file, "").is_ok();
        assert!(!nobody.does(CapabilitySet::empty(), read).unwrap());
        assert!(nobody.does(CapabilitySet::DAC_READ_SEARCH, read).unwrap());
        assert!(!nobody.does(CapabilitySet::DAC_READ_SEARCH, write).unwrap());
        assert!(write());
    }
}
