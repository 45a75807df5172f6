//! What opens sealed objects: age's and OpenSSH's private keys, plain or under a passphrase; those that plugins keep; a
//! passphrase itself.

use std::io::{self, BufReader, Read};

use age_core::format::{FileKey, Stanza};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::plugin::{self, NOT_ALLOWED};
use super::{canonical, invalid, opening};

/// Largest identity file, sealed or not.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// What an identity begins with that a plugin keeps, or knows where to find.
const OF_PLUGIN: &[u8] = b"AGE-PLUGIN-";
/// Most work that a passphrase may ask for (log2 of scrypt's N), as the `age` command has it.
const MAX_WORK_FACTOR: u8 = 22;

/// The identities of one file.
pub struct Identities {
    all: Vec<Box<dyn age::Identity + Send + Sync>>,
    recipients: Vec<String>,
}

impl Identities {
    /// Reads identities that ask for nothing.
    pub fn parse(file: &[u8]) -> io::Result<Identities> {
        Identities::read(file, age::NoCallbacks, false)
    }

    /// What opens objects that are sealed to a passphrase.
    pub fn of_passphrase(passphrase: SecretString) -> Identities {
        let mut identity = age::scrypt::Identity::new(passphrase);
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        Identities { all: vec![Box::new(identity)], recipients: Vec::new() }
    }

    /// Reads identities in age's or OpenSSH's file format. Where they are under a passphrase, `asking` is asked for it,
    /// once; a plugin may ask more whenever it opens something. Those of plugins are refused unless these are allowed: no
    /// program runs because an identity file names it.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` for a wrong passphrase, `InvalidData` for a file that holds no identity; never anything of it.
    pub fn read(file: &[u8], asking: impl age::Callbacks, plugins: bool) -> io::Result<Identities> {
        let text = file.trim_ascii_start();
        if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            let plain = unsealed(text, &asking)?;
            return Identities::of_age(&plain, asking, plugins);
        }
        match text.starts_with(b"-----BEGIN ") {
            true => Identities::of_ssh(text, &asking),
            false => Identities::of_age(text, asking, plugins),
        }
    }

    fn of_age(text: &[u8], asking: impl age::Callbacks, plugins: bool) -> io::Result<Identities> {
        let (mut of_plugins, mut others) = (Vec::<OfPlugin<_>>::new(), Zeroizing::new(Vec::with_capacity(text.len())));
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if !line.trim_ascii().starts_with(OF_PLUGIN) {
                others.extend_from_slice(line);
                continue;
            }
            if !plugins {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, NOT_ALLOWED));
            }
            let (plugin, identity) = of_plugin(line).ok_or_else(|| invalid("an identity of a plugin is mistyped"))?;
            match of_plugins.iter_mut().find(|it| it.plugin == plugin) {
                Some(known) => known.identities.push(identity),
                None => of_plugins.push(OfPlugin { plugin, identities: vec![identity], person: asking.clone() }),
            }
        }
        let file = age::IdentityFile::from_buffer(others.as_slice())?.with_callbacks(asking);
        let mut all = file.into_identities().map_err(opening)?;
        let lines = Zeroizing::new(String::from_utf8_lossy(&others).into_owned());
        let secrets = lines.lines().filter_map(|line| line.trim().parse::<age::x25519::Identity>().ok());
        let mut recipients: Vec<String> = secrets.map(|identity| identity.to_public().to_string()).collect();
        // The others first: a plugin may want somebody's hand.
        all.extend(of_plugins.into_iter().map(|it| Box::new(it) as _));
        if all.is_empty() {
            return Err(invalid("the identity file holds no identity"));
        }
        if recipients.len() < all.len() {
            recipients.clear(); // of other kinds only age knows
        }
        Ok(Identities { all, recipients })
    }

    fn of_ssh(text: &[u8], asking: &impl age::Callbacks) -> io::Result<Identities> {
        use age::ssh::Identity;
        // age reports a cut-off key as `Interrupted`, which readers take as "try again": never pass it on.
        let identity = Identity::from_buffer(text, None).map_err(|_| invalid("not a valid OpenSSH private key"))?;
        let identity = match identity {
            Identity::Encrypted(sealed) => {
                let plain = sealed.decrypt(passphrase(asking)?);
                Identity::from(plain.map_err(|_| denied("the passphrase is wrong"))?)
            }
            Identity::Unsupported(_) => return Err(invalid("this kind of SSH private key is not supported")),
            plain @ Identity::Unencrypted(_) => plain,
        };
        let recipient = age::ssh::Recipient::try_from(identity.clone()).ok();
        let recipients = recipient.map(|recipient| canonical(&recipient.to_string())).into_iter().collect();
        Ok(Identities { all: vec![Box::new(identity)], recipients })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.all.iter().map(|identity| &**identity as &dyn age::Identity)
    }

    /// Their recipients, as [`canonical`] spells them; none where that cannot be told.
    pub fn recipients(&self) -> &[String] {
        &self.recipients
    }
}

/// What one plugin opens with.
struct OfPlugin<C> {
    plugin: String,
    identities: Vec<Zeroizing<String>>,
    person: C,
}

impl<C: age::Callbacks> age::Identity for OfPlugin<C> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        plugin::unwrap(&self.plugin, &self.identities, stanzas, &self.person).map_err(age::DecryptError::Io).transpose()
    }
}

/// A line's identity and its plugin's name.
fn of_plugin(line: &[u8]) -> Option<(String, Zeroizing<String>)> {
    let text = std::str::from_utf8(line.trim_ascii()).ok()?;
    let identity: age::plugin::Identity = text.parse().ok()?;
    Some((identity.plugin().to_owned(), Zeroizing::new(text.to_owned())))
}

/// The plain text of an identity file that `age -p` has sealed.
fn unsealed(file: &[u8], asking: &impl age::Callbacks) -> io::Result<Zeroizing<Vec<u8>>> {
    let decryptor = age::Decryptor::new_buffered(BufReader::new(age::armor::ArmoredReader::new(file)));
    let decryptor = decryptor.map_err(opening)?;
    if !decryptor.is_scrypt() {
        return Err(invalid("the identity file is sealed to a key, not to a passphrase: open it first, with age -d"));
    }
    let mut identity = age::scrypt::Identity::new(passphrase(asking)?);
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let plain = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|error| match error {
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
            denied("the passphrase is wrong")
        }
        other => opening(other),
    })?;
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize));
    plain.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn passphrase(asking: &impl age::Callbacks) -> io::Result<SecretString> {
    let asked = asking.request_passphrase("passphrase of the identity");
    asked.ok_or_else(|| invalid("the identity is under a passphrase, and nobody has entered it"))
}

fn denied(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pair, seal, ssh_pair};
    use super::*;
    use std::io::{Cursor, Write};

    /// A sealed file as `age -p` makes it, with little work.
    fn under_passphrase(plain: &[u8], passphrase: &str, armoured: bool) -> Vec<u8> {
        let mut recipient = age::scrypt::Recipient::new(passphrase.to_owned().into());
        recipient.set_work_factor(2);
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let format = if armoured { age::armor::Format::AsciiArmor } else { age::armor::Format::Binary };
        let armour = age::armor::ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
        let mut stream = encryptor.wrap_output(armour).unwrap();
        stream.write_all(plain).unwrap();
        stream.finish().unwrap().finish().unwrap()
    }

    fn opens(identities: &Identities, sealed: &[u8]) -> bool {
        super::super::open_with(Cursor::new(sealed.to_vec()), identities).is_ok()
    }

    #[test]
    fn no_identity_file_starts_a_plugin_by_itself() {
        let (identity, _) = pair();
        for line in ["AGE-PLUGIN-EVIL-1QQQQ", "  AGE-PLUGIN-EVIL-1QQQQ\r"] {
            let file = format!("# made by somebody\n{identity}\n{line}\n");
            let error = Identities::parse(file.as_bytes()).err().unwrap();
            assert!(error.to_string().contains("allow_plugins") && !error.to_string().contains("EVIL"), "{error}");
            let error = Identities::read(file.as_bytes(), age::NoCallbacks, true).err().unwrap();
            assert!(error.to_string().contains("mistyped") && !error.to_string().contains("EVIL"), "{error}");
        }
    }

    /// Gives one answer, and counts how often it was asked.
    #[derive(Clone)]
    struct Answer(&'static str, std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl Answer {
        fn of(text: &'static str) -> Answer {
            Answer(text, std::sync::Arc::default())
        }
    }

    impl age::Callbacks for Answer {
        fn display_message(&self, _: &str) {}
        fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
            None
        }
        fn request_public_string(&self, _: &str) -> Option<String> {
            None
        }
        fn request_passphrase(&self, _: &str) -> Option<SecretString> {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Some(self.0.to_owned().into())
        }
    }

    #[test]
    fn a_file_under_a_passphrase_asks_once_and_opens() {
        let (public, secret) = pair();
        let (sealed, _) = seal(std::slice::from_ref(&public), b"x");
        for armoured in [false, true] {
            let file = under_passphrase(format!("# a comment\n{secret}\n").as_bytes(), "correct horse", armoured);
            let answer = Answer::of("correct horse");
            let identities = Identities::read(&file, answer.clone(), false).unwrap();
            assert!(opens(&identities, &sealed) && opens(&identities, &sealed));
            assert_eq!(answer.1.load(std::sync::atomic::Ordering::Relaxed), 1);
            assert_eq!(identities.recipients(), [public.as_str()]);
            let wrong = Identities::read(&file, Answer::of("wrong"), false).err().unwrap();
            assert_eq!(wrong.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(wrong.to_string(), "the passphrase is wrong");
            assert!(Identities::parse(&file).err().unwrap().to_string().contains("nobody has entered it"));
        }
    }

    #[test]
    fn a_passphrase_opens_what_is_sealed_to_it() {
        let sealed = under_passphrase(b"x", "correct horse", false);
        assert!(opens(&Identities::of_passphrase("correct horse".to_owned().into()), &sealed));
        assert!(!opens(&Identities::of_passphrase("battery staple".to_owned().into()), &sealed));
        assert!(!opens(&Identities::parse(pair().1.as_bytes()).unwrap(), &sealed));
    }

    #[test]
    fn a_file_that_is_sealed_to_a_key_is_refused() {
        let (public, secret) = pair();
        let (file, _) = seal(&[public], secret.as_bytes());
        let answer = Answer::of("p");
        let error = Identities::read(&file, answer.clone(), false).err().unwrap();
        assert!(error.to_string().contains("open it first"), "{error}");
        assert_eq!(answer.1.load(std::sync::atomic::Ordering::Relaxed), 0);
    }

    #[test]
    fn an_ssh_key_under_a_passphrase_asks_and_opens() {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["ed25519", "rsa"] {
            let Some((public, private)) = ssh_pair(dir.path(), kind, "secret") else { return };
            let (sealed, _) = seal(std::slice::from_ref(&public), b"x");
            let identities = Identities::read(&private, Answer::of("secret"), false).unwrap();
            assert!(opens(&identities, &sealed));
            assert_eq!(identities.recipients(), [canonical(&public)]);
            let wrong = Identities::read(&private, Answer::of("wrong"), false).err().unwrap();
            assert_eq!(wrong.to_string(), "the passphrase is wrong");
        }
    }

    #[test]
    fn what_is_no_identity_is_refused_without_a_word_of_it() {
        let secret = pair().1;
        for (file, word) in [
            (format!("{secret}x"), secret.as_str()),
            ("hunter2".to_owned(), "hunter2"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2".to_owned(), "hunter2"),
            ("age-encryption.org/v1\nhunter2".to_owned(), "hunter2"),
            ("-----BEGIN AGE ENCRYPTED FILE-----\nhunter2".to_owned(), "hunter2"),
            (String::new(), "AGE-SECRET"),
        ] {
            let error = Identities::read(file.as_bytes(), Answer::of("p"), false).err().unwrap();
            assert!(!format!("{error:?}").contains(word), "{error:?}");
        }
    }
}
