//! The C2SP CCTV vectors for age, through `vault open`: each with the result that it says.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

use crate::sandbox::Sandbox;

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

/// What `vault open` makes of a vector, with its identity or passphrase.
fn opened(sandbox: &Sandbox, says: &BTreeMap<String, String>, file: &[u8]) -> Output {
    let (object, identity) = (sandbox.path("vector.age"), sandbox.path("identity"));
    fs::write(&object, file).unwrap();
    let secret = says.get("identity").cloned().unwrap_or_else(|| {
        use age::secrecy::ExposeSecret;
        age::x25519::Identity::generate().to_string().expose_secret().to_owned()
    });
    fs::write(&identity, secret).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
    command.arg("--config").arg(sandbox.site("config.toml")).args(["vault", "open"]).arg(object);
    match says.get("passphrase") {
        Some(_) => command.arg("--passphrase"),
        None => command.arg("-i").arg(identity),
    };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let passphrase = says.get("passphrase").map_or("", String::as_str);
    let _ = writeln!(child.stdin.take().unwrap(), "{passphrase}"); // it may not have asked
    child.wait_with_output().unwrap()
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let sandbox = Sandbox::new();
    let (mut tried, mut differing) = (0, Vec::new());
    for Vector { name, says, file } in vectors() {
        tried += 1;
        let opened = opened(&sandbox, &says, &file);
        let (is_open, said) = (opened.status.success(), String::from_utf8_lossy(&opened.stderr).into_owned());
        let payload = || format!("{:x}", Sha256::digest(&opened.stdout));
        let nobody = said.contains("none of the identities") || said.contains("the passphrase or key is wrong");
        let is_right = match says["expect"].as_str() {
            "success" => is_open && payload() == says["payload"],
            "no match" => !is_open && nobody,
            "payload failure" | "armor failure" => {
                !is_open && !nobody && says.get("payload").is_none_or(|wanted| *wanted == payload())
            }
            "header failure" | "HMAC failure" => !is_open && !nobody && opened.stdout.is_empty(),
            other => panic!("{name} expects {other}"),
        };
        if !is_right {
            differing.push(format!("{name} expects {}: {said}", says["expect"]));
        }
    }
    assert_eq!(differing, Vec::<String>::new());
    assert_eq!(tried, 124, "vectors");
}
