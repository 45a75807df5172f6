//! Central log stores for tests: they take records, and refuse, stall or break off when told to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// How a store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Answers that it cannot take anything now.
    Refusing,
    /// Takes what comes, and says nothing until its mood changes.
    Stalled,
    /// Takes some of what comes, and breaks the connection off.
    Breaking,
}

/// What a store has.
pub struct Held {
    pub mood: Mood,
    /// Every record as it arrived, in order, repeats too.
    pub arrived: Vec<String>,
    /// How often somebody came to it in this mood.
    pub visits: usize,
    /// Set when the test is over.
    closed: bool,
    /// Connections that were made.
    open: HashMap<SocketAddr, TcpStream>,
}

impl Held {
    /// The records by their id, each with how often it arrived; what is no record has no place here.
    pub fn by_id(&self) -> HashMap<String, (String, usize)> {
        let mut by_id: HashMap<String, (String, usize)> = HashMap::new();
        for line in &self.arrived {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no record: {line}"));
            let id = record["event"]["id"].as_str().unwrap_or_else(|| panic!("no id: {line}")).to_owned();
            let (known, times) = by_id.entry(id).or_insert_with(|| (line.clone(), 0));
            let known: Value = serde_json::from_str(known).unwrap();
            let what = |record: &Value| [&record["@timestamp"], &record["event"], &record["veild"]].map(Value::clone);
            assert_eq!(what(&known), what(&record), "two records of one id");
            *times += 1;
        }
        by_id
    }
}

/// A store that listens on a port of its own.
pub struct Store {
    pub address: SocketAddr,
    shared: Arc<(Mutex<Held>, Condvar)>,
}

impl Store {
    /// One that handles each connection by `serve`.
    pub fn listening(serve: impl Fn(TcpStream, &Shelf) + Send + Sync + 'static) -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held = Held { mood: Mood::Well, arrived: Vec::new(), visits: 0, closed: false, open: HashMap::new() };
        let shared = Arc::new((Mutex::new(held), Condvar::new()));
        let shelf = Shelf { shared: shared.clone() };
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shelf.held().closed {
                    return;
                }
                let peer = stream.peer_addr().unwrap();
                shelf.held().open.insert(peer, stream.try_clone().unwrap());
                let (serve, shelf) = (serve.clone(), Shelf { shared: shelf.shared.clone() });
                std::thread::spawn(move || {
                    serve(stream, &shelf);
                    shelf.held().open.remove(&peer);
                });
            }
        });
        Store { address, shared }
    }

    /// As much of Elasticsearch's bulk interface as shippers use.
    pub fn elasticsearch() -> Store {
        Store::listening(|stream, shelf| {
            let mut reader = BufReader::new(stream);
            while let Some((method, body)) = request(&mut reader) {
                let (status, answer) = if method == "POST" { bulk(&body, shelf) } else { (200, itself()) };
                if status == 0 || respond(reader.get_mut(), &method, status, &answer).is_err() {
                    return;
                }
            }
        })
    }

    /// A syslog server over TLS; frames count octets, and text is all behind the sixth space.
    pub fn syslog(config: ServerConfig) -> Store {
        let config = Arc::new(config);
        Store::listening(move |stream, shelf| {
            shelf.held().visits += 1;
            let session = ServerConnection::new(config.clone()).unwrap();
            frames(StreamOwned::new(session, stream), shelf);
        })
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every connection, in order as long as nothing is under way.
    pub fn hang_up(&self) {
        self.held().open.values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    pub fn set(&self, mood: Mood) {
        let mut held = self.held();
        (held.mood, held.visits) = (mood, 0);
        self.shared.1.notify_all();
    }

    /// Number of different records that have arrived.
    pub fn records(&self) -> usize {
        self.held().by_id().len()
    }

    pub fn visits(&self) -> usize {
        self.held().visits
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let mut held = self.held();
        (held.closed, held.mood) = (true, Mood::Breaking);
        self.shared.1.notify_all();
        drop(held);
        let _ = TcpStream::connect(self.address); // wakes the listener
    }
}

/// What the connections of a store share.
pub struct Shelf {
    shared: Arc<(Mutex<Held>, Condvar)>,
}

impl Shelf {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the store is stalled; returns its mood then.
    pub fn wait_while_stalled(&self) -> Mood {
        let mut held = self.held();
        while held.mood == Mood::Stalled {
            held = self.shared.1.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.mood
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.split(' ').next()?.to_owned(), body))
}

/// What it says of itself.
fn itself() -> Value {
    let license = json!({"status": "active", "uid": "0", "type": "basic"});
    json!({"version": {"number": "8.99.0", "build_flavor": "default"}, "license": license})
}

fn respond(stream: &mut TcpStream, method: &str, status: u16, answer: &Value) -> std::io::Result<()> {
    let body = answer.to_string();
    let shown = if method == "HEAD" { "" } else { &body };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nX-Elastic-Product: Elasticsearch\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{shown}").as_bytes())
}

/// Creates documents: one whose id is known is refused with 409, as Elasticsearch does. Status 0: say nothing.
fn bulk(body: &[u8], shelf: &Shelf) -> (u16, Value) {
    let mut held = shelf.held();
    held.visits += 1;
    if held.mood == Mood::Refusing {
        // By turns the request as a whole, and each document for itself.
        let items: Vec<Value> = (0..body.split(|byte| *byte == b'\n').count() / 2)
            .map(|_| json!({"create": {"status": 429, "error": {"type": "es_rejected_execution_exception"}}}))
            .collect();
        let alone = json!({"errors": true, "items": items});
        return if held.visits.is_multiple_of(2) { (503, json!({"status": 503})) } else { (200, alone) };
    }
    let mut known = held.by_id();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut items = Vec::new();
    let mut lines = text.lines();
    while let (Some(action), Some(document)) = (lines.next(), lines.next()) {
        let action: Value = serde_json::from_str(action).unwrap();
        let id = action["create"]["_id"].as_str().unwrap_or_else(|| panic!("no id: {action}")).to_owned();
        assert_eq!(action["create"]["_index"], "logs-veild.audit-default");
        let is_known = known.insert(id.clone(), (document.to_owned(), 1)).is_some();
        held.arrived.push(document.to_owned());
        items.push(json!({"create": {"_id": id, "status": if is_known { 409 } else { 201 }}}));
    }
    drop(held);
    match shelf.wait_while_stalled() {
        Mood::Breaking => (0, Value::Null),
        _ => (200, json!({"errors": items.iter().any(|item| item["create"]["status"] == 409), "items": items})),
    }
}

/// Takes messages until the peer ends the connection, or as the store's mood is.
fn frames(mut tls: StreamOwned<ServerConnection, TcpStream>, shelf: &Shelf) {
    let mut rest = Vec::new();
    loop {
        match shelf.wait_while_stalled() {
            Mood::Refusing => return,
            Mood::Breaking if !rest.is_empty() => {
                // As from a host that has crashed: what is under way is lost.
                let at_once = Some(std::time::Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&tls.sock, at_once).unwrap();
                return;
            }
            _ => {}
        }
        let mut chunk = [0; 2048];
        match tls.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => rest.extend_from_slice(&chunk[..count]),
        }
        while let Some(line) = frame(&mut rest) {
            shelf.held().arrived.push(line);
        }
    }
}

/// Takes one whole message out; its text.
fn frame(rest: &mut Vec<u8>) -> Option<String> {
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().expect("an octet count");
    if rest.len() < space + 1 + length {
        return None;
    }
    let message: Vec<u8> = rest.drain(..space + 1 + length).skip(space + 1).collect();
    let message = String::from_utf8(message).unwrap();
    let parts: Vec<&str> = message.splitn(8, ' ').collect();
    let [head, at, _host, app, procid, msgid, data, text] = parts[..] else { panic!("not of RFC 5424: {message}") };
    assert!(head.starts_with("<1") && head.ends_with(">1"), "{message}");
    assert!(at.parse::<jiff::Timestamp>().is_ok() && at.len() <= "2026-01-01T00:00:00.123456Z".len(), "{message}");
    assert_eq!((app, procid, data), ("veild", "-", "-"), "{message}");
    assert!(text.contains(&format!("\"action\":\"{msgid}\"")), "{message}");
    Some(text.to_owned())
}

/// Who signs certificates for a test.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this host with its key, both in PEM.
    pub fn certify(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A server's side; with clients certified by `clients` alone, if that is given.
    pub fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        let (cert, key) = self.certify();
        let (cert, key) = (read(&cert), PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(read(&clients.pem)).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(vec![cert], key).unwrap();
        // As rsyslog's server: its client reads nothing, and would not see the end of the connection behind them.
        config.send_tls13_tickets = 0;
        config
    }
}

fn read(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}
