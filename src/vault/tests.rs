use super::*;
use crate::pipeline::DigestKind;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};

fn sign(message: &[u8]) -> String {
    format!("{:x}", Sha256::digest(message))
}

fn signed(message: &[u8], armoured: &str) -> bool {
    sign(message) == armoured
}

fn finished(dir: &Path, second: i64, content: &[u8]) -> Finished {
    let now = Timestamp::from_second(second).unwrap();
    let job = JobId::claimed_at(now);
    let incoming = dir.join(INCOMING).join(format!("{job}.age"));
    fs::write(&incoming, content).unwrap();
    let path = object_path("l", Path::new("sub"), job, OsStr::new("people.csv"), false);
    let receipt = Receipt {
        receipt_version: 1,
        job,
        landing: "l".into(),
        view: None,
        original_name: "people.csv".into(),
        arrived_at: now,
        claimed_at: now,
        sealed_at: now,
        input: InputReport { digest: None, digest_kind: DigestKind::None, bytes: 1, format: "csv".into() },
        output: ReceiptOutput {
            path: path.to_str().unwrap().into(),
            sha256: format!("{:x}", Sha256::digest(content)),
            bytes: content.len() as u64,
            format: "csv".into(),
        },
        rows_in: 1,
        rows_out: 1,
        columns: vec![],
        policy: ReceiptPolicy { name: "p".into(), sha256: "0".into() },
        recipients: vec![],
        verify: "off".into(),
        veild: "0".into(),
    };
    Finished { incoming, receipt }
}

fn vault() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("v");
    prepare(&dir).unwrap();
    (temp, dir)
}

fn whats(dir: &Path, identity: Option<&[u8]>) -> Vec<String> {
    verify::verify_with(dir, &signed, identity).unwrap().problems.into_iter().map(|problem| problem.what).collect()
}

#[test]
fn publishes_batches_small_and_large() {
    let (_temp, dir) = vault();
    for (start, count) in [(1_760_000_000, 2), (1_770_000_000, 20)] {
        let batch: Vec<_> = (0..count).map(|i| finished(&dir, start + i, b"sealed")).collect();
        let published = publish::publish(&dir, &batch, &sign).unwrap();
        for (published, finished) in published.iter().zip(&batch) {
            let found = find_with(&dir, &published.object, &signed).unwrap();
            assert_eq!(found, (finished.receipt.clone(), published.clone()));
            let (receipt, signature) = siblings(&dir.join(&published.object)).unwrap();
            for path in [&dir.join(&published.object), &receipt, &signature] {
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o440);
            }
            assert!(receipt.to_str().unwrap().ends_with(&format!("people.{}.csv.receipt.json", published.job)));
            assert!(fs::read(&receipt).unwrap().ends_with(b"}\n"));
        }
    }
    assert_eq!(fs::read_dir(dir.join(INCOMING)).unwrap().count(), 0);
    let entries = list(&dir).unwrap();
    assert_eq!(entries.len(), 22);
    assert!(entries.is_sorted_by_key(|entry| entry.receipt.as_ref().unwrap().job));
    assert_eq!(whats(&dir, None), Vec::<String>::new());
}

#[test]
fn converges_from_every_partial_state() {
    for state in 0..5 {
        let (_temp, dir) = vault();
        let finished = finished(&dir, 1_760_000_000, b"sealed");
        let object = dir.join(&finished.receipt.output.path);
        let (receipt, signature) = siblings(&object).unwrap();
        if state > 0 {
            fs::write(dir.join(INCOMING).join(format!("{}.age.receipt", finished.receipt.job)), "{").unwrap();
        }
        if state > 1 {
            fs::create_dir_all(object.parent().unwrap()).unwrap();
        }
        if state > 2 {
            fs::write(&receipt, "of an earlier attempt").unwrap();
        }
        if state > 3 {
            fs::write(&signature, "of an earlier attempt").unwrap();
        }
        publish::publish(&dir, std::slice::from_ref(&finished), &sign).unwrap();
        assert_eq!(whats(&dir, None), Vec::<String>::new(), "{state}");
    }
}

#[test]
fn a_visible_object_and_its_receipt_are_never_replaced() {
    let (_temp, dir) = vault();
    let mut finished = finished(&dir, 1_760_000_000, b"sealed");
    let published = publish::publish(&dir, std::slice::from_ref(&finished), &sign).unwrap();
    fs::write(&finished.incoming, "another").unwrap();
    finished.receipt.rows_in = 7;
    assert_eq!(publish::publish(&dir, &[finished], &sign).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(verify::check(&dir, &published[0].object, &signed).is_ok());
}

#[test]
fn paths_out_of_the_vault_are_refused() {
    let (_temp, dir) = vault();
    let mut finished = finished(&dir, 1_760_000_000, b"sealed");
    finished.receipt.output.path = "../x.age".into();
    assert_eq!(publish::publish(&dir, &[finished], &sign).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn verify_names_what_is_wrong() {
    let one = |harm: &dyn Fn(&Path, &Path, &Path)| {
        let (_temp, dir) = vault();
        let published = publish::publish(&dir, &[finished(&dir, 1_760_000_000, b"sealed")], &sign).unwrap();
        let object = dir.join(&published[0].object);
        let (receipt, signature) = siblings(&object).unwrap();
        harm(&object, &receipt, &signature);
        whats(&dir, None).join("; ")
    };
    let replace = |path: &Path, content: &str| {
        fs::remove_file(path).unwrap();
        fs::write(path, content).unwrap();
    };
    assert!(one(&|_, receipt, _| fs::remove_file(receipt).unwrap()).contains("missing receipt"));
    assert!(one(&|_, receipt, _| replace(receipt, "{}")).contains("bad signature"));
    assert!(one(&|_, _, signature| replace(signature, "x")).contains("bad signature"));
    assert!(one(&|object, _, _| replace(object, "SEALED")).contains("digest"));
    assert!(one(&|object, _, _| replace(object, "longer than before")).contains("size"));
    assert!(one(&|object, _, _| fs::remove_file(object).unwrap()).contains("without an object"));
    let moved = one(&|object, receipt, signature| {
        for path in [object, receipt, signature] {
            let name = path.file_name().unwrap().to_str().unwrap().replace("people", "other");
            fs::rename(path, path.with_file_name(name)).unwrap();
        }
    });
    assert_eq!(moved, "the receipt is of another path");
}

#[test]
fn verify_decrypts_when_it_can() {
    use secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate();
    let recipients = crate::seal::Recipients::parse(&[identity.to_public().to_string()]).unwrap();
    let mut sealer = crate::seal::Sealer::new(&recipients, Vec::new()).unwrap();
    sealer.write_all(b"plain").unwrap();
    let (sealed, _) = sealer.finish().unwrap();
    let (_temp, dir) = vault();
    publish::publish(&dir, &[finished(&dir, 1_760_000_000, &sealed)], &sign).unwrap();
    let secret = identity.to_string();
    assert_eq!(whats(&dir, Some(secret.expose_secret().as_bytes())), Vec::<String>::new());
    let other = age::x25519::Identity::generate().to_string();
    let whats = whats(&dir, Some(other.expose_secret().as_bytes()));
    assert_eq!(whats, ["does not decrypt: none of the identities opens this object"]);
}

#[test]
fn prepare_empties_incoming_only() {
    let (_temp, dir) = vault();
    publish::publish(&dir, &[finished(&dir, 1_760_000_000, b"sealed")], &sign).unwrap();
    finished(&dir, 1_760_000_001, b"left over");
    prepare(&dir).unwrap();
    assert_eq!(fs::read_dir(dir.join(INCOMING)).unwrap().count(), 0);
    assert_eq!(list(&dir).unwrap().len(), 1);
}
