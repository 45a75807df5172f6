//! The C2SP CCTV vectors for age, through `vault open`: each with the result that it says.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use sha2::{Digest, Sha256};

use crate::sandbox::Sandbox;

/// What the age library opens although the format forbids it: headers that early versions of rage wrote, without the last
/// line of a stanza. Their MAC holds.
const LENIENT: [&str; 2] = ["stanza_missing_body", "stanza_missing_final_line"];

/// One vector: what it says of itself, and the age file.
struct Vector {
    name: String,
    says: BTreeMap<String, String>,
    file: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let packed = include_bytes!("../fixtures/cctv/age.tar.zst");
    let mut archive = tar::Archive::new(zstd::Decoder::new(&packed[..]).unwrap());
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(2).position(|window| window == b"\n\n").unwrap();
        let header = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let says = header.lines().filter_map(|line| line.split_once(": "));
        let says: BTreeMap<_, _> = says.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut file = bytes[end + 2..].to_vec();
        if says.get("compressed").is_some_and(|kind| kind == "zlib") {
            let packed = std::mem::take(&mut file);
            flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut file).unwrap();
        }
        Vector { name, says, file }
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let sandbox = Sandbox::new();
    let (object, identity) = (sandbox.path("vector.age"), sandbox.path("identity"));
    let (mut tried, mut passed_over, mut differing) = (0, 0, Vec::new());
    for Vector { name, says, file } in vectors() {
        // Objects of the vault are binary, and are opened with identities.
        if says.contains_key("armored") || says.contains_key("passphrase") {
            passed_over += 1;
            continue;
        }
        tried += 1;
        fs::write(&object, file).unwrap();
        let secret = says.get("identity").cloned().unwrap_or_else(|| {
            use age::secrecy::ExposeSecret;
            age::x25519::Identity::generate().to_string().expose_secret().to_owned()
        });
        fs::write(&identity, secret).unwrap();
        let opened = sandbox.veild(&["vault", "open", object.to_str().unwrap(), "-i", identity.to_str().unwrap()]);
        let (is_open, said) = (opened.status.success(), String::from_utf8_lossy(&opened.stderr).into_owned());
        let payload = || format!("{:x}", Sha256::digest(&opened.stdout));
        let nobody = said.contains("none of the identities");
        let is_right = match says["expect"].as_str() {
            "success" => is_open && payload() == says["payload"],
            "no match" => !is_open && nobody,
            "payload failure" => !is_open && !nobody && says.get("payload").is_none_or(|wanted| *wanted == payload()),
            "header failure" | "HMAC failure" => !is_open && !nobody && opened.stdout.is_empty(),
            other => panic!("{name} expects {other}"),
        };
        if !is_right {
            differing.push(name);
        }
    }
    assert_eq!(differing, LENIENT);
    assert_eq!((tried, passed_over), (67, 57), "vectors");
}
