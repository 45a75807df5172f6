//! Sealing with age; the only caller of `finish()`.
//!
//! Nothing here acts in `Drop`: a stream that was not finished lacks its last chunk and is refused by every reader.

use std::io::{self, BufRead, BufReader, Read, Write};

use age::armor::ArmoredReader;
use sha2::{Digest, Sha256};

mod header;
mod identity;
pub mod plugin;
mod recipient;

pub use header::{Rewrapped, rewrap};
pub use identity::Identities;
pub use recipient::{
    PASSPHRASE_PREFIX, Readers, RecipientError, Recipients, WORK_FACTOR, canonical, discord, plugin_of,
};

/// Size of the buffers on both ways. age writes its header in small pieces, then chunks of a little more than this,
/// which pass through uncopied.
const BUFFER: usize = 64 << 10;

/// A sealed stream that has been finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-256 of the sealed bytes, lower-case hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

/// Gathers small pieces of sealed bytes, hashes and counts all. Not `BufWriter`, which writes in its `Drop`.
struct Tally<W: Write> {
    inner: W,
    buffer: Vec<u8>,
    hash: Sha256,
    bytes: u64,
    /// Set by the first error: what follows a gap must never be finished.
    broken: bool,
}

impl<W: Write> Tally<W> {
    fn new(inner: W) -> Tally<W> {
        Tally { inner, buffer: Vec::new(), hash: Sha256::new(), bytes: 0, broken: false }
    }

    fn pass_on(&mut self, sealed: &[u8]) -> io::Result<()> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(io::Error::other("the sealed stream is broken by an earlier error"));
        }
        self.hash.update(sealed);
        self.inner.write_all(sealed)?;
        self.broken = false;
        self.bytes += sealed.len() as u64;
        Ok(())
    }

    fn pass_on_buffer(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let passed = self.pass_on(&buffer);
        buffer.clear();
        self.buffer = buffer;
        passed
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, sealed: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + sealed.len() > BUFFER {
            self.pass_on_buffer()?;
        }
        if sealed.len() >= BUFFER {
            self.pass_on(sealed)?;
        } else {
            self.buffer.extend_from_slice(sealed);
        }
        Ok(sealed.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on_buffer()?;
        self.inner.flush()
    }
}

/// Writes plaintext in, sealed bytes out. Dropped without [`Sealer::finish`] it leaves a stream that does not decrypt.
pub struct Sealer<W: Write> {
    stream: age::stream::StreamWriter<Tally<W>>,
}

/// A sealing that has its key, wrapped for its recipients, and nothing else yet.
pub struct Sealing {
    encryptor: age::Encryptor,
}

impl Sealing {
    /// Makes a key and wraps it, which takes a second with a passphrase, and longer with a plugin.
    pub fn new(recipients: &Recipients) -> io::Result<Sealing> {
        let encryptor = age::Encryptor::with_recipients(recipients.iter()).map_err(recipient::sealing)?;
        Ok(Sealing { encryptor })
    }
}

impl<W: Write> Sealer<W> {
    pub fn new(recipients: &Recipients, inner: W) -> io::Result<Sealer<W>> {
        Sealer::begin(Sealing::new(recipients)?, inner)
    }

    pub fn begin(sealing: Sealing, inner: W) -> io::Result<Sealer<W>> {
        Ok(Sealer { stream: sealing.encryptor.wrap_output(Tally::new(inner))? })
    }

    /// Ends the stream so that it decrypts; to be called on success only.
    pub fn finish(self) -> io::Result<(W, Sealed)> {
        let mut tally = self.stream.finish()?;
        tally.flush()?;
        let Tally { inner, hash, bytes, .. } = tally;
        Ok((inner, Sealed { sha256: format!("{:x}", hash.finalize()), bytes }))
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        self.stream.write(plaintext)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Opens a sealed stream with identities in age's or OpenSSH's file format, without a passphrase.
pub fn open<R: Read + 'static>(sealed: R, identity_file: &[u8]) -> io::Result<Box<dyn Read>> {
    open_with(sealed, &Identities::parse(identity_file)?)
}

/// Opens a sealed stream, in binary form or with armour around it.
pub fn open_with<R: Read + 'static>(sealed: R, identities: &Identities) -> io::Result<Box<dyn Read>> {
    let mut sealed = BufReader::with_capacity(BUFFER, sealed);
    let begins = sealed.fill_buf()?;
    let behind_space = begins.trim_ascii_start();
    let (space, is_armoured) = (begins.len() - behind_space.len(), behind_space.starts_with(b"-"));
    let mut sealed: Box<dyn BufRead> = if is_armoured {
        sealed.consume(space); // may stand around armour, and age's reader takes it behind it only
        Box::new(ArmoredReader::new(sealed))
    } else {
        Box::new(sealed)
    };
    let header = header::read(&mut sealed)?;
    let decryptor = age::Decryptor::new_buffered(io::Cursor::new(header).chain(sealed)).map_err(opening)?;
    let reader = decryptor.decrypt(identities.iter()).map_err(opening)?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, reader)))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn opening(error: age::DecryptError) -> io::Error {
    match error {
        age::DecryptError::Io(error) => error,
        age::DecryptError::NoMatchingKeys => {
            io::Error::new(io::ErrorKind::PermissionDenied, "none of the identities opens this object")
        }
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
            io::Error::new(io::ErrorKind::PermissionDenied, "the passphrase or key is wrong")
        }
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::process::Command;

    pub fn pair() -> (String, String) {
        let identity = age::x25519::Identity::generate();
        (identity.to_public().to_string(), identity.to_string().expose_secret().to_owned())
    }

    pub fn ssh_pair(dir: &std::path::Path, kind: &str, passphrase: &str) -> Option<(String, Vec<u8>)> {
        let key = dir.join(format!("{kind}{}", passphrase.len()));
        let run = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(&key).status();
        if !run.is_ok_and(|status| status.success()) {
            println!("SKIPPED: no ssh-keygen");
            return None;
        }
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        Some((public, std::fs::read(&key).unwrap()))
    }

    pub fn seal(recipients: &[String], plain: &[u8]) -> (Vec<u8>, Sealed) {
        let mut sealer = Sealer::new(&Recipients::parse(recipients).unwrap(), Vec::new()).unwrap();
        sealer.write_all(plain).unwrap();
        sealer.finish().unwrap()
    }

    fn unseal(sealed: Vec<u8>, identity: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        open(io::Cursor::new(sealed), identity)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn seals_opens_and_tallies() {
        let (public, secret) = pair();
        let identities = Identities::parse(format!("# kept elsewhere\n{secret}\n").as_bytes()).unwrap();
        assert_eq!(identities.recipients(), [public.as_str()]);
        for size in [0, 1, 65_535, 65_536, 65_537, 131_072, 3 << 20] {
            let plain = vec![7u8; size];
            let (sealed, told) = seal(std::slice::from_ref(&public), &plain);
            assert_eq!(told.bytes, sealed.len() as u64);
            assert_eq!(told.sha256, format!("{:x}", Sha256::digest(&sealed)));
            assert_eq!(unseal(sealed, secret.as_bytes()).unwrap(), plain);
        }
    }

    #[test]
    fn a_dropped_sealer_leaves_nothing_that_decrypts() {
        let (public, secret) = pair();
        let recipients = Recipients::parse(&[public]).unwrap();
        for size in [0, 1, 65_536, 131_072, 16 * 65_536, 100_000, 3 << 20] {
            for flush in [false, true] {
                let mut out = Vec::new();
                let mut sealer = Sealer::new(&recipients, &mut out).unwrap();
                sealer.write_all(&vec![1; size]).unwrap();
                if flush {
                    sealer.flush().unwrap();
                }
                drop(sealer);
                assert!(unseal(out, secret.as_bytes()).is_err(), "{size} {flush}");
            }
        }
    }

    #[test]
    fn nothing_is_finished_after_an_error() {
        struct Once(bool);
        impl Write for Once {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) { Ok(bytes.len()) } else { Err(io::Error::other("full")) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut sealer = Sealer::new(&Recipients::parse(&[pair().0]).unwrap(), Once(false)).unwrap();
        assert!(sealer.write_all(&vec![1; 3 << 20]).is_err());
        assert!(sealer.finish().is_err());
    }

    #[test]
    fn refuses_and_never_repeats_secrets() {
        let (public, secret) = pair();
        for bad in
            [secret.as_str(), &secret.to_lowercase(), "-----BEGIN OPENSSH PRIVATE KEY-----\nQUJD", "", "ssh-dss A"]
        {
            let message = Recipients::parse(&[public.as_str(), bad]).unwrap_err().to_string();
            assert!(message.starts_with("recipient 2 "), "{message}");
            assert!(bad.len() < 10 || !message.contains(&bad[bad.len() - 4..]), "{message}");
        }
        let message = Recipients::parse(&[&public, &public]).unwrap_err().to_string();
        assert_eq!(message, "recipient 2 is the same as recipient 1");
        assert!(Recipients::parse::<&str>(&[]).is_err());
    }

    #[test]
    fn wrong_and_broken_identities_are_told_apart() {
        let (public, _) = pair();
        let (sealed, _) = seal(&[public], b"x");
        let error = unseal(sealed.clone(), pair().1.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "none of the identities opens this object");
        let cut = unseal(sealed.clone(), b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl").unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::InvalidData);
        assert!(unseal(sealed, b"# nothing\n").is_err());
    }

    #[test]
    fn ssh_keys_work() {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["ed25519", "rsa"] {
            let Some((public, private)) = ssh_pair(dir.path(), kind, "") else { return };
            let (sealed, _) = seal(std::slice::from_ref(&public), b"hello");
            assert_eq!(unseal(sealed, &private).unwrap(), b"hello");
            assert_eq!(Identities::parse(&private).unwrap().recipients(), [canonical(&public)]);
        }
        let Some((public, private)) = ssh_pair(dir.path(), "ed25519", "secret") else { return };
        let error = unseal(seal(&[public], b"x").0, &private).unwrap_err();
        assert!(error.to_string().contains("passphrase"), "{error}");
    }

    #[test]
    fn the_age_command_opens_it() {
        if Command::new("age").arg("--version").output().is_err() {
            println!("SKIPPED: no age command");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (public, secret) = pair();
        let plain = vec![9u8; 200_000];
        std::fs::write(dir.path().join("o.age"), seal(&[public], &plain).0).unwrap();
        std::fs::write(dir.path().join("id"), secret).unwrap();
        let out = Command::new("age").args(["-d", "-i", "id", "o.age"]).current_dir(dir.path()).output().unwrap();
        assert!(out.status.success() && out.stdout == plain);
    }
}
