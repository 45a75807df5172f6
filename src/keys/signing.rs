//! The host's signing key, and the half of it that others check with.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::Signer;
use rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, Signature, SshSig};

use super::{KeyError, KeySource, exclusively, locked, place, refuse_taken, with_suffix};
use crate::fsutil;

/// What OpenSSH hashes messages with before they are signed.
const HASH: HashAlg = HashAlg::Sha512;

/// Writes a new signing key F, its public half F.pub and F.allowed_signers for `ssh-keygen -Y verify`; never overwrites.
/// Where F is there and one of the others is not, as a kill leaves them, it adds what is missing to F.
pub fn generate_signing(path: &Path) -> Result<(), KeyError> {
    let _lock = exclusively(path)?;
    let public_halves = [with_suffix(path, ".pub"), with_suffix(path, ".allowed_signers")];
    let are_there = public_halves.each_ref().map(|path| path.symlink_metadata().is_ok());
    let is_begun = path.is_file() && are_there.contains(&false);
    let public = match is_begun.then(|| SigningKey::load(path)) {
        Some(Ok(begun)) => begun.verifying(),
        _ => {
            refuse_taken(path)?;
            public_halves.iter().try_for_each(|path| refuse_taken(path))?;
            let fail = |error: ssh_key::Error| KeyError(format!("cannot generate a signing key: {error}"));
            let mut private = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(fail)?;
            private.set_comment("veild");
            place(path, 0o600, private.to_openssh(LineEnding::LF).map_err(fail)?.as_bytes())?;
            crate::faults::point("signing_key_placed");
            VerifyingKey::of(private.public_key().clone())
        }
    };
    let texts = [public.openssh(), public.allowed_signers()];
    for ((path, text), is_there) in public_halves.iter().zip(texts).zip(are_there) {
        if !is_there {
            place(path, 0o644, text.as_bytes())?;
            crate::faults::point("public_half_placed");
        }
    }
    Ok(())
}

/// The host's signing key.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<ed25519_dalek::SigningKey>,
    /// Its public half, and those of the keys before it.
    verifying: Arc<VerifyingKey>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
        SigningKey::from_source(&KeySource::File(path.to_owned()))
    }

    pub fn from_source(source: &KeySource) -> Result<SigningKey, KeyError> {
        let text = source.read()?;
        let fail = |what: String| KeyError(format!("{source}: {what}"));
        let key = PrivateKey::from_openssh(text.as_str())
            .map_err(|error| fail(format!("no OpenSSH private key: {error}")))?;
        if key.is_encrypted() {
            return Err(fail("has a passphrase; the daemon cannot enter one".to_owned()));
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(fail(format!("is {}, not ssh-ed25519", key.algorithm())));
        }
        // Taken out once: the other type would compute its public half, and compare it, at each signature.
        let pair = key.key_data().ed25519().ok_or_else(|| fail("holds no private key".to_owned()))?;
        let pair = pair.try_into().map_err(|_| fail("its public half is another key's".to_owned()))?;
        let pair = Arc::new(pair);
        locked::lock(&*pair);
        let verifying = VerifyingKey::of(key.public_key().clone()).with_earlier(source)?;
        Ok(SigningKey { key: pair, verifying: Arc::new(verifying) })
    }

    /// An armoured SSH signature (`ssh-keygen -Y verify` checks it) over `message` in `namespace`.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        let sign = || {
            let signed = SshSig::signed_data(namespace, HASH, message)?;
            let signature = Signature::new(Algorithm::Ed25519, self.key.sign(&signed).to_vec())?;
            SshSig::new(self.verifying.key().key_data().clone(), namespace, HASH, signature)?.to_pem(LineEnding::LF)
        };
        sign().expect("an ed25519 key signs any message in a named namespace")
    }

    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey::clone(&self.verifying)
    }
}

/// What signatures are checked with: the public half of a signing key, and of those that it has replaced.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// Never empty; the first is the key in use.
    signers: Vec<AllowedSigner>,
}

/// A line of an allowed-signers file. Its times are not looked at: what is signed has its own.
#[derive(Clone, Debug)]
struct AllowedSigner {
    key: PublicKey,
    /// What it may sign; `None`: everything.
    namespaces: Option<String>,
}

impl AllowedSigner {
    /// `None` for lines of other keys, and of certificate authorities.
    fn parse(line: &str) -> Option<Result<AllowedSigner, ssh_key::Error>> {
        let (options, key) = line.split_at(line.find("ssh-ed25519 ")?);
        if line.trim_start().starts_with('#') || options.split([' ', ',']).any(|word| word == "cert-authority") {
            return None;
        }
        let namespaces = options.split_once("namespaces=\"").and_then(|(_, rest)| rest.split_once('"'));
        let namespaces = namespaces.map(|(namespaces, _)| namespaces.to_owned());
        Some(PublicKey::from_openssh(key).map(|key| AllowedSigner { key, namespaces }))
    }

    fn may_sign(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|all| all.split(',').any(|it| it == namespace || it == "*"))
    }
}

impl VerifyingKey {
    fn of(key: PublicKey) -> VerifyingKey {
        VerifyingKey { signers: vec![AllowedSigner { key, namespaces: None }] }
    }

    /// The key in use.
    fn key(&self) -> &PublicKey {
        &self.signers[0].key
    }

    /// Reads `F.pub` in OpenSSH's format, or all ssh-ed25519 keys of an allowed-signers file.
    pub fn load(path: &Path) -> Result<VerifyingKey, KeyError> {
        let fail = |what: String| KeyError(format!("cannot read public key {}: {what}", path.display()));
        let text = fsutil::read_named_text(path, fsutil::MAX_NAMED_BYTES).map_err(|error| fail(error.to_string()))?;
        let signers = text.lines().filter_map(AllowedSigner::parse).collect::<Result<Vec<_>, _>>();
        let signers = signers.map_err(|error| fail(error.to_string()))?;
        if signers.is_empty() {
            return Err(fail("it holds no ssh-ed25519 key".to_owned()));
        }
        Ok(VerifyingKey { signers })
    }

    /// The public half of a signing key, and those of earlier ones; where its file is not for this user to read, the one beside
    /// it.
    pub fn of_signing_key(source: &KeySource) -> Result<VerifyingKey, KeyError> {
        match (SigningKey::from_source(source), source) {
            (Ok(key), _) => Ok(key.verifying()),
            (Err(error), KeySource::File(path)) => {
                let public = VerifyingKey::load(&with_suffix(path, ".pub")).map_err(|_| error)?;
                public.with_earlier(source)
            }
            (Err(error), KeySource::Command(_)) => Err(error),
        }
    }

    /// With all keys of the allowed-signers file beside a signing key, which keeps those that it has replaced.
    fn with_earlier(mut self, source: &KeySource) -> Result<VerifyingKey, KeyError> {
        let KeySource::File(secret) = source else { return Ok(self) };
        let path = with_suffix(secret, ".allowed_signers");
        let Ok(metadata) = fs::metadata(&path) else { return Ok(self) };
        // Whoever may change the key may change this.
        let of_key = fs::metadata(secret).map_or(0, |metadata| metadata.uid());
        let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if metadata.mode() & 0o022 != 0 || (own != 0 && ![0, own, of_key].contains(&owner)) {
            return Err(KeyError(format!(
                "others may change whose signatures are believed: give {path} to root, and run: chmod 0644 {path}",
                path = path.display()
            )));
        }
        let earlier = VerifyingKey::load(&path)?.signers.into_iter();
        let own = self.key().key_data().clone();
        self.signers.extend(earlier.filter(|it| *it.key.key_data() != own));
        Ok(self)
    }

    /// As `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// As `ssh-keygen` leaves it in a file.
    fn openssh(&self) -> String {
        let text = self.key().to_openssh().expect("a key that was made or read can be written");
        format!("{}\n", text.trim_end())
    }

    /// Lines for `ssh-keygen -Y verify`.
    pub fn allowed_signers(&self) -> String {
        let line = |key: &PublicKey| {
            let mut bare = key.clone();
            bare.set_comment("");
            let bare = bare.to_openssh().expect("a key that was read can be written");
            format!("veild namespaces=\"veild-audit,veild-receipt\" {}\n", bare.trim_end())
        };
        self.signers.iter().map(|signer| line(&signer.key)).collect()
    }

    /// Whether the armoured signature is this key's, or an earlier one's, over the message in the namespace.
    pub fn verify(&self, namespace: &str, message: &[u8], armoured: &str) -> Result<(), KeyError> {
        let signature =
            SshSig::from_pem(armoured).map_err(|error| KeyError(format!("no armoured SSH signature: {error}")))?;
        // Another spelling of the same signature means that somebody has touched it.
        let canonical = signature.to_pem(LineEnding::LF).map_err(|error| KeyError(error.to_string()))?;
        if canonical.trim_end() != armoured.trim_end() {
            return Err(KeyError("the signature's armour has been altered".to_owned()));
        }
        let is_signer = |it: &&AllowedSigner| it.may_sign(namespace) && it.key.key_data() == signature.public_key();
        let signer = self.signers.iter().find(is_signer);
        let signer = signer.ok_or_else(|| KeyError("the signature does not hold: it is of another key".to_owned()))?;
        signer
            .key
            .verify(namespace, message, &signature)
            .map_err(|error| KeyError(format!("the signature does not hold: {error}")))
    }
}
