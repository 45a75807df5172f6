//! A new header for a sealed stream: the same file key, wrapped for other readers.
//!
//! The payload's key depends on the file key and on the 16 bytes behind the header alone
//! (<https://c2sp.org/age#payload>), so what is behind the header stays as it is, byte for byte. Whoever has had the file
//! key keeps what it opens.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use age_core::format::{FileKey, Stanza};
use age_core::primitives::hkdf;
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use zeroize::Zeroizing;

use super::recipient::sealing;
use super::{Identities, Recipients, invalid, opening};
use crate::keys::hmac::ErasedHmac;

/// Columns of a stanza's body.
const COLUMNS: usize = 64;
/// Largest header, which is held in memory: that of some thousand readers.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a stream up to the end of its header, as it is there. What is no header is left for age to refuse, except one thing
/// that age lets pass: early versions of rage left out the last line of a stanza where it was empty, which the format
/// forbids (<https://c2sp.org/age#encoding>).
pub(super) fn read(sealed: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut sealed = sealed.take(MAX_BYTES);
    let (mut header, mut in_body) = (Vec::new(), false);
    loop {
        let began = header.len();
        sealed.read_until(b'\n', &mut header)?;
        let Some(line) = header[began..].strip_suffix(b"\n") else {
            let is_cut_off = sealed.limit() > 0 || began == 0;
            return if is_cut_off { Ok(header) } else { Err(invalid("its header is larger than 16 MiB")) };
        };
        match in_body {
            true if line.starts_with(b"-") => return Err(invalid("a stanza of its header lacks its last line")),
            true => in_body = line.len() >= COLUMNS,
            false if began > 0 && !line.starts_with(b"-> ") => return Ok(header),
            false if began == 0 && !line.starts_with(b"age-encryption.org/") => return Ok(header),
            false => in_body = began > 0,
        }
    }
}

/// What stands in the place of an object's header.
pub struct Rewrapped {
    pub header: Vec<u8>,
    /// Length of the old header: what is behind it stays.
    pub old_bytes: u64,
}

/// Passes on what an identity does, and keeps the file key that it finds.
struct Finder<'a> {
    identity: &'a dyn age::Identity,
    found: &'a RefCell<Option<FileKey>>,
}

impl age::Identity for Finder<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.identity.unwrap_stanza(stanza).map(|it| it.inspect(|key| self.keep(key)))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        self.identity.unwrap_stanzas(stanzas).map(|it| it.inspect(|key| self.keep(key)))
    }
}

impl Finder<'_> {
    fn keep(&self, key: &FileKey) {
        *self.found.borrow_mut() = Some(FileKey::new(Box::new(*key.expose_secret())));
    }
}

/// Reads the header at the beginning of a sealed stream, whose MAC must hold, and makes one for other readers.
///
/// # Errors
///
/// `PermissionDenied` when none of the identities opens it, `InvalidData` when it is no sealed stream.
pub fn rewrap(
    sealed: &mut (impl Read + Seek),
    identities: &Identities,
    recipients: &Recipients,
) -> io::Result<Rewrapped> {
    let old = read(&mut BufReader::new(&mut *sealed))?;
    let old_bytes = sealed.seek(SeekFrom::Start(old.len() as u64))?;
    let decryptor = age::Decryptor::new(io::Cursor::new(old).chain(sealed)).map_err(opening)?;
    let found = RefCell::new(None);
    let finders: Vec<Finder<'_>> = identities.iter().map(|identity| Finder { identity, found: &found }).collect();
    decryptor.decrypt(finders.iter().map(|finder| finder as &dyn age::Identity)).map_err(opening)?;
    let key = found.take().ok_or_else(|| invalid("it opens without a file key"))?;
    Ok(Rewrapped { header: header(&key, recipients)?, old_bytes })
}

/// A header (<https://c2sp.org/age#header>) that wraps this key for these readers.
fn header(key: &FileKey, recipients: &Recipients) -> io::Result<Vec<u8>> {
    let mut header = b"age-encryption.org/v1\n".to_vec();
    let mut labels: Option<HashSet<String>> = None;
    for recipient in recipients.iter() {
        let (stanzas, its_labels) = recipient.wrap_file_key(key).map_err(sealing)?;
        // What the labels stand for, such as a passphrase or post-quantum security, holds for all readers or for none.
        if *labels.get_or_insert_with(|| its_labels.clone()) != its_labels {
            return Err(invalid("these recipients cannot share one object"));
        }
        stanzas.iter().try_for_each(|stanza| write_stanza(&mut header, stanza))?;
    }
    header.extend(b"---");
    let mac_key = Zeroizing::new(hkdf(&[], b"header", key.expose_secret()));
    let mac = ErasedHmac::new(&mac_key).digest(&[&header]);
    writeln!(header, " {}", BASE64.encode(mac.as_slice()))?;
    Ok(header)
}

fn write_stanza(header: &mut Vec<u8>, stanza: &Stanza) -> io::Result<()> {
    write!(header, "-> {}", stanza.tag)?;
    stanza.args.iter().try_for_each(|argument| write!(header, " {argument}"))?;
    header.push(b'\n');
    let body = BASE64.encode(&stanza.body);
    let mut rest = body.as_str();
    // The last line is shorter than the others, and may be empty.
    while rest.len() >= COLUMNS {
        let (line, behind) = rest.split_at(COLUMNS);
        writeln!(header, "{line}")?;
        rest = behind;
    }
    writeln!(header, "{rest}")
}

#[cfg(test)]
mod tests {
    use super::super::{Sealer, open_with, tests::pair};
    use super::*;
    use std::process::{Command, Stdio};

    fn sealed_to(public: &[String], plain: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(&Recipients::parse(public).unwrap(), Vec::new()).unwrap();
        sealer.write_all(plain).unwrap();
        sealer.finish().unwrap().0
    }

    fn rewrapped(sealed: &[u8], secret: &str, public: &[String]) -> io::Result<Vec<u8>> {
        let identities = Identities::parse(secret.as_bytes())?;
        let made = rewrap(&mut io::Cursor::new(sealed), &identities, &Recipients::parse(public).unwrap())?;
        Ok([&made.header, &sealed[usize::try_from(made.old_bytes).unwrap()..]].concat())
    }

    fn opened(sealed: &[u8], secret: &str) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let identities = Identities::parse(secret.as_bytes())?;
        open_with(io::Cursor::new(sealed.to_vec()), &identities)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn new_readers_open_it_old_ones_do_not_and_the_payload_stays() {
        let ((old, old_secret), (one, one_secret), (two, two_secret)) = (pair(), pair(), pair());
        for size in [0, 1, 65_536, 65_537, 200_000] {
            let plain = vec![7; size];
            let sealed = sealed_to(std::slice::from_ref(&old), &plain);
            let again = rewrapped(&sealed, &old_secret, &[one.clone(), two.clone()]).unwrap();
            assert_eq!(opened(&again, &one_secret).unwrap(), plain);
            assert_eq!(opened(&again, &two_secret).unwrap(), plain);
            assert_eq!(opened(&again, &old_secret).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            let payload = |bytes: &[u8]| {
                let at = bytes.windows(4).position(|window| window == b"\n---").unwrap() + 1;
                bytes[at + bytes[at..].iter().position(|byte| *byte == b'\n').unwrap() + 1..].to_vec()
            };
            assert_eq!(payload(&again), payload(&sealed));
        }
    }

    #[test]
    fn a_stanza_of_whole_lines_ends_with_an_empty_one() {
        let stanza = |bytes| Stanza { tag: "x".into(), args: vec!["a".into()], body: vec![0; bytes] };
        for (bytes, lines) in [(0, 1), (47, 1), (48, 2), (49, 2), (96, 3)] {
            let mut text = Vec::new();
            write_stanza(&mut text, &stanza(bytes)).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.lines().count(), lines + 1, "{text}");
            let (_, read) = age_core::format::read::age_stanza(format!("{text}---").as_bytes())
                .map(|(rest, read)| (rest.to_vec(), Stanza::from(read)))
                .unwrap();
            assert_eq!(read, stanza(bytes));
        }
    }

    #[test]
    fn strangers_and_damaged_headers_are_refused() {
        let ((old, secret), (new, stranger)) = (pair(), pair());
        let sealed = sealed_to(&[old], b"x");
        let denied = rewrapped(&sealed, &stranger, std::slice::from_ref(&new)).unwrap_err();
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        // One bit of the header changed: its MAC, or what it covers.
        let end = sealed.windows(4).position(|window| window == b"\n---").unwrap() + 48;
        for at in 0..end {
            let mut harmed = sealed.clone();
            harmed[at] ^= 1;
            assert!(rewrapped(&harmed, &secret, std::slice::from_ref(&new)).is_err(), "byte {at}");
        }
        for length in [0, 10, end, end + 10] {
            assert!(rewrapped(&sealed[..length], &secret, std::slice::from_ref(&new)).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_age_command_opens_it_with_every_kind_of_key() {
        if Command::new("age").arg("--version").output().is_err() {
            return println!("SKIPPED: no age command");
        }
        let dir = tempfile::tempdir().unwrap();
        let (old, old_secret) = pair();
        let (x25519, secret) = pair();
        std::fs::write(dir.path().join("x25519"), secret).unwrap();
        let mut readers = vec![x25519];
        for kind in ["ed25519", "rsa"] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f", kind]).current_dir(&dir).status();
            if !made.is_ok_and(|status| status.success()) {
                return println!("SKIPPED: no ssh-keygen");
            }
            readers.push(std::fs::read_to_string(dir.path().join(format!("{kind}.pub"))).unwrap().trim().to_owned());
        }
        let plain = vec![9; 200_000];
        // Once more: from a header of ours, too.
        let once =
            rewrapped(&sealed_to(std::slice::from_ref(&old), &plain), &old_secret, std::slice::from_ref(&old)).unwrap();
        std::fs::write(dir.path().join("o.age"), rewrapped(&once, &old_secret, &readers).unwrap()).unwrap();
        for key in ["x25519", "ed25519", "rsa"] {
            let opened = Command::new("age")
                .args(["-d", "-i", key, "o.age"])
                .current_dir(&dir)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(opened.status.success() && opened.stdout == plain, "{key}: {opened:?}");
        }
    }

    #[test]
    fn what_the_age_command_has_sealed_is_rewrapped() {
        let dir = tempfile::tempdir().unwrap();
        let ((old, old_secret), (new, new_secret)) = (pair(), pair());
        std::fs::write(dir.path().join("plain"), vec![3; 100_000]).unwrap();
        let made = Command::new("age").args(["-r", &old, "-o", "o.age", "plain"]).current_dir(&dir).output();
        if !made.is_ok_and(|output| output.status.success()) {
            return println!("SKIPPED: no age command");
        }
        let sealed = std::fs::read(dir.path().join("o.age")).unwrap();
        let again = rewrapped(&sealed, &old_secret, &[new]).unwrap();
        assert_eq!(opened(&again, &new_secret).unwrap(), vec![3; 100_000]);
    }
}
