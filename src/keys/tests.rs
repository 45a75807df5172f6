use std::os::unix::fs::PermissionsExt;

use super::*;
use std::process::{Command, Stdio};

#[test]
fn a_generated_masking_key_loads_and_derives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("masking.key");
    generate_masking(&path, Timestamp::UNIX_EPOCH).unwrap();
    assert!(generate_masking(&path, Timestamp::UNIX_EPOCH).is_err());
    let keys = MaskingKeys::load(&path).unwrap();
    assert_eq!(keys.current_version(), 1);
    assert_eq!(keys.derive("mask/hash", "ssn"), keys.derive("mask/hash", "ssn"));
    assert_ne!(keys.derive("mask/hash", "ssn"), keys.derive("mask/hash", "name"));
    assert_eq!(format!("{keys:?}"), "MaskingKeys { versions: [1], .. }");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(MaskingKeys::load(&path).unwrap_err().0.contains("chmod 0600"));
}

#[test]
fn a_rotation_adds_a_version_and_keeps_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("masking.key");
    generate_masking(&path, Timestamp::UNIX_EPOCH).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let old = MaskingKeys::load(&path).unwrap();
    assert_eq!(rotate_masking(&path, Timestamp::UNIX_EPOCH, None, |_| Ok(())).unwrap(), 2);
    let new = MaskingKeys::load(&path).unwrap();
    assert_eq!(new.versions().iter().map(|known| known.version).collect::<Vec<_>>(), [1, 2]);
    assert_ne!(new.derive("p", "n"), old.derive("p", "n"));
    assert_eq!(new.as_of(1).unwrap().derive("p", "n"), old.derive("p", "n"));
    assert_eq!(new.versions()[0].fingerprint(), old.versions()[0].fingerprint());
    assert_ne!(new.versions()[0].fingerprint(), new.versions()[1].fingerprint());
    assert!(new.as_of(3).is_none());
    let text = fs::read_to_string(&path).unwrap();
    let refused = rotate_masking(&path, Timestamp::UNIX_EPOCH, None, |rotation| {
        assert_eq!((rotation.version, &rotation.before), (3, &new.versions()[1].fingerprint()));
        Err(KeyError("it cannot be recorded".to_owned()))
    });
    assert!(refused.is_err() && fs::read_to_string(&path).unwrap() == text);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::write(dir.path().join("masking.key.rotating"), "half").unwrap();
    assert_eq!(rotate_masking(&path, Timestamp::UNIX_EPOCH, None, |_| Ok(())).unwrap(), 3);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn bad_masking_keys_are_refused() {
    let key = BASE64.encode([7u8; 32]);
    let at = "2026-01-01T00:00:00Z";
    let parse = |body: &str| MaskingKeys::parse(&format!("veild-masking-key 1\n{body}"));
    assert_eq!(parse(&format!("2 {at} {key}\n# c\n1 {at} {key}\n")).unwrap().current_version(), 2);
    assert!(parse(&format!("1 {at} {key}\n1 {at} {key}\n")).unwrap_err().0.contains("twice"));
    let short = BASE64.encode([7u8; 31]);
    let error = parse(&format!("1 {at} {short}\n")).unwrap_err().0;
    assert!(error.contains("32 bytes") && !error.contains(&short));
    let zeros = BASE64.encode([0u8; 32]);
    assert!(parse(&format!("1 {at} {key}\n2 {at} {zeros}\n")).unwrap_err().0.contains("line 3: the key is all zeros"));
    assert!(parse("").is_err());
    assert!(MaskingKeys::parse("veild-masking-key 2\n").unwrap_err().0.contains("newer"));
}

#[test]
fn ssh_keygen_verifies_our_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signing.key");
    generate_signing(&path).unwrap();
    assert!(generate_signing(&path).is_err());
    let key = SigningKey::load(&path).unwrap();
    let signature = key.sign("veild-audit", b"message");
    let signers = VerifyingKey::load(&with_suffix(&path, ".allowed_signers")).unwrap();
    signers.verify("veild-audit", b"message", &signature).unwrap();
    let public = VerifyingKey::load(&with_suffix(&path, ".pub")).unwrap();
    public.verify("veild-audit", b"message", &signature).unwrap();
    assert!(public.verify("veild-audit", b"massage", &signature).is_err());
    assert!(public.verify("veild-receipt", b"message", &signature).is_err());
    fs::write(dir.path().join("sig"), &signature).unwrap();
    let child = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-I", "veild", "-n", "veild-audit", "-f"])
        .arg(with_suffix(&path, ".allowed_signers"))
        .arg("-s")
        .arg(dir.path().join("sig"))
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: no ssh-keygen on this host");
        return;
    };
    child.stdin.take().unwrap().write_all(b"message").unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_version_comes_into_force_at_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    let at = |second| Timestamp::from_second(second).unwrap();
    generate_masking(&path, at(0)).unwrap();
    let future = at(4_000_000_000);
    assert_eq!(rotate_masking(&path, at(0), Some(future), |_| Ok(())).unwrap(), 2);
    let keys = MaskingKeys::load(&path).unwrap();
    assert_eq!((keys.current_version(), keys.versions().len()), (1, 2));
    let later = keys.at(future).unwrap();
    assert_eq!(later.current_version(), 2);
    assert_ne!(*keys.derive("mask/hash", "x"), *later.derive("mask/hash", "x"));
    assert_eq!(keys.at(at(3_999_999_999)).unwrap().current_version(), 1);
    assert!(rotate_masking(&path, at(0), None, |_| Ok(())).is_err(), "it would be in force before version 2");
    let text = fs::read_to_string(&path).unwrap();
    let without_first: String =
        text.lines().filter(|line| !line.starts_with("1 ")).map(|line| format!("{line}\n")).collect();
    fs::write(&path, without_first).unwrap();
    assert!(MaskingKeys::load(&path).unwrap_err().0.contains("in force"));
    fs::write(&path, format!("{} soon\n", text.trim_end())).unwrap();
    assert!(MaskingKeys::load(&path).is_err());
}

#[test]
fn a_version_that_is_in_force_keeps_up_no_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    let at = |second| Timestamp::from_second(second).unwrap();
    generate_masking(&path, at(0)).unwrap();
    assert_eq!(rotate_masking(&path, at(0), Some(at(5)), |_| Ok(())).unwrap(), 2);
    assert_eq!(rotate_masking(&path, at(10), None, |_| Ok(())).unwrap(), 3);
    assert_eq!(MaskingKeys::load(&path).unwrap().current_version(), 3);
    assert_eq!(rotate_masking(&path, at(20), Some(at(4_000_000_000)), |_| Ok(())).unwrap(), 4);
    let refused = rotate_masking(&path, at(30), None, |_| Ok(())).unwrap_err().0;
    assert!(refused.contains("version 4 comes into force at 2096-10-02") && refused.contains("--from"), "{refused}");
}

#[test]
fn a_pipe_is_no_key_and_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap().success());
    let refused = [MaskingKeys::load(&path).unwrap_err(), SigningKey::load(&path).unwrap_err()];
    assert!(refused.iter().all(|error| error.0.contains("not a regular file")), "{refused:?}");
}

#[test]
fn a_signing_key_without_its_public_halves_gets_them_and_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signing.key");
    generate_signing(&path).unwrap();
    let files = ["", ".pub", ".allowed_signers"].map(|suffix| with_suffix(&path, suffix));
    let whole = files.each_ref().map(|file| fs::read(file).unwrap());
    for missing in [&files[1..], &files[2..], &files[1..2]] {
        missing.iter().for_each(|file| fs::remove_file(file).unwrap());
        generate_signing(&path).unwrap();
        assert_eq!(files.each_ref().map(|file| fs::read(file).unwrap()), whole);
    }
    assert!(generate_signing(&path).unwrap_err().0.contains("never overwritten"));
    fs::remove_file(&path).unwrap();
    assert!(generate_signing(&path).unwrap_err().0.contains(".pub is already there"), "a public half is of some key");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
