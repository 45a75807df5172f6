//! Syslog over TLS: RFC 5424 messages, framed by octet counts (RFC 5425).
//!
//! Syslog acknowledges nothing. So a connection is ended in order now and then, and what was sent counts as delivered only
//! when the peer has ended it too *after* its kernel had acknowledged all: then the peer's process has read everything.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::link::Head;
use super::{ShipError, To};
use crate::keys;

/// A server that takes or says nothing for so long is in trouble.
const PATIENCE: Duration = Duration::from_secs(30);
/// Facility 13 (log audit).
const FACILITY: u8 = 13;

pub struct Syslog {
    stream: StreamOwned<ClientConnection, TcpStream>,
    to: String,
}

impl Syslog {
    pub fn open(to: &To) -> Result<Syslog, ShipError> {
        let name = to.to_string();
        let To::SyslogTls { host, port, ca, client } = to else {
            return Err(refused(&name, "it is no syslog server"));
        };
        let config = config(ca, client.as_ref())?;
        let server = ServerName::try_from(host.clone()).map_err(|_| refused(&name, "it is no name of a server"))?;
        let session = ClientConnection::new(Arc::new(config), server).map_err(|error| refused(&name, error))?;
        let socket =
            connect(host, *port).map_err(|source| ShipError::Io { doing: "reach", to: name.clone(), source })?;
        Ok(Syslog { stream: StreamOwned::new(session, socket), to: name })
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> ShipError + use<> {
        let to = self.to.clone();
        move |source| ShipError::Io { doing, to: to.clone(), source: in_words(source) }
    }

    pub fn send(&mut self, lines: &[(u64, Vec<u8>)]) -> Result<(), ShipError> {
        let frames: Vec<u8> = lines.iter().flat_map(|(_, line)| frame(line)).collect();
        self.stream.write_all(&frames).and_then(|()| self.stream.flush()).map_err(self.failed("send to"))
    }

    pub fn confirm(mut self) -> Result<(), ShipError> {
        let failed = self.failed("send to");
        let deadline = Instant::now() + patience();
        self.stream.conn.send_close_notify();
        self.stream.flush().map_err(&failed)?;
        self.stream.sock.shutdown(Shutdown::Write).map_err(&failed)?;
        self.read_to_the_end(deadline).map_err(|error| self.unconfirmed(error))?;
        while unacknowledged(&self.stream.sock).map_err(|error| self.unconfirmed(error))? > 0 {
            if let Some(error) = self.stream.sock.take_error().map_err(&failed)? {
                return Err(self.unconfirmed(error));
            }
            if Instant::now() > deadline {
                return Err(self.unconfirmed("it has closed the connection before it had all"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.stream.sock.take_error().map_err(&failed)? {
            Some(error) => Err(self.unconfirmed(error)),
            None => Ok(()),
        }
    }

    /// Until the peer ends the connection, with or without TLS's own goodbye; one that goes on talking is no better than one
    /// that says nothing.
    fn read_to_the_end(&mut self, deadline: Instant) -> io::Result<()> {
        let mut rest = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other("it leaves the connection open"));
            }
            self.stream.sock.set_read_timeout(Some(left))?;
            match self.stream.read(&mut rest) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::other("it leaves the connection open"));
                }
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
    }

    fn unconfirmed(&self, what: impl ToString) -> ShipError {
        ShipError::Unconfirmed { to: self.to.clone(), what: what.to_string() }
    }
}

fn refused(to: &str, what: impl ToString) -> ShipError {
    ShipError::Io { doing: "reach", to: to.to_owned(), source: io::Error::other(what.to_string()) }
}

/// What the handshake says of a server's certificate, for whoever made that.
fn in_words(source: io::Error) -> io::Error {
    use rustls::{CertificateError, Error};
    let what = match source.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the server's certificate was issued by nobody in the file `ca`"
        }
        Some(Error::InvalidCertificate(CertificateError::Other(other)))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "the server's certificate is a CA's own, as `openssl req -x509` makes it; let that CA issue one for the server \
             (with basicConstraints=CA:FALSE), or make it with `-addext basicConstraints=CA:FALSE`"
        }
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "the server's certificate has expired"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the server's certificate is not for the name in `to`",
        _ => return source,
    };
    io::Error::other(format!("{what} ({source})"))
}

fn patience() -> Duration {
    crate::faults::limit("SHIP_PATIENCE", PATIENCE)
}

/// Bytes that the peer's kernel has not acknowledged, the end of the stream among them.
fn unacknowledged(socket: &TcpStream) -> io::Result<i32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, to which the pointer leads for the length of the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) } {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in (host, port).to_socket_addrs()?.collect::<Vec<SocketAddr>>() {
        match TcpStream::connect_timeout(&address, patience()) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_write_timeout(Some(patience()))?;
                socket.set_read_timeout(Some(patience()))?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Read anew for each connection: certificates are renewed.
pub fn config(ca: &Path, client: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, ShipError> {
    let secret = client.map(|(_, key)| client_key(key)).transpose()?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| tls(ca, error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| tls(ca, error))?.with_root_certificates(roots);
    match (client, secret) {
        (Some((cert, _)), Some(secret)) => {
            builder.with_client_auth_cert(certificates(cert)?, secret).map_err(|error| tls(cert, error))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn client_key(path: &Path) -> Result<PrivateKeyDer<'static>, ShipError> {
    let text = keys::read_file(path).map_err(|error| tls(path, error))?;
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| tls(path, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ShipError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|error| tls(path, error))? {
        none if none.is_empty() => Err(tls(path, "it holds no certificate in PEM")),
        certificates => Ok(certificates),
    }
}

fn tls(path: &Path, what: impl ToString) -> ShipError {
    ShipError::Tls { path: path.to_owned(), what: what.to_string() }
}

/// A record as a message of RFC 5424, whose text is the line, in the frame of RFC 5425.
fn frame(line: &[u8]) -> Vec<u8> {
    let line = line.trim_ascii_end();
    let head: Option<Head<'_>> = serde_json::from_slice(line).ok();
    let header = match &head {
        Some(head) => format!(
            "<{}>1 {} {} veild - {} - ",
            8 * FACILITY + head.severity(),
            micros(&head.at),
            word(&head.host.name, 255),
            word(head.event.action, 32),
        ),
        None => format!("<{}>1 - - veild - - - ", 8 * FACILITY + 5),
    };
    [format!("{} {header}", header.len() + line.len()).as_bytes(), line].concat()
}

/// A time as RFC 5424 can spell it: of the fraction six digits.
fn micros(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, fraction)) => {
            let digits = fraction.trim_end_matches('Z');
            format!("{seconds}.{}Z", &digits[..digits.len().min(6)])
        }
        None => at.to_owned(),
    }
}

/// A word of printable ASCII; `-` when there is none.
fn word(text: &str, most: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_client_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.key");
        std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        for (mode, is_read) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = client_key(&path).map(drop).map_err(|error| error.to_string());
            assert_eq!(read.is_ok(), is_read, "{mode:o}: {read:?}");
            assert!(is_read || read.unwrap_err().contains("chmod 0600"));
        }
    }

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    /// A connection to a server with this certificate, made by itself, which talks until its client has gone.
    fn talking(params: CertificateParams) -> (Syslog, std::thread::JoinHandle<()>) {
        let dir = tempfile::tempdir().unwrap();
        let (ca, key) = (dir.path().join("ca.pem"), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(&ca, certificate.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = server.unwrap().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], secret);
        let listener = std::net::TcpListener::bind(("localhost", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let talking = std::thread::spawn(move || {
            let session = rustls::ServerConnection::new(Arc::new(server.unwrap())).unwrap();
            let mut stream = StreamOwned::new(session, listener.accept().unwrap().0);
            while stream.write_all(b"more").and_then(|()| stream.flush()).is_ok() {
                std::thread::sleep(Duration::from_millis(20)); // until the client has gone
            }
        });
        let to = To::SyslogTls { host: "localhost".to_owned(), port, ca, client: None };
        (Syslog::open(&to).unwrap(), talking)
    }

    #[test]
    fn a_certificate_that_will_not_do_is_told_from_others() {
        let ca = IsCa::Ca(BasicConstraints::Unconstrained);
        for (name, is_ca, said) in [
            ("localhost", ca, "is a CA's own, as `openssl req -x509` makes it"),
            ("elsewhere", IsCa::NoCa, "is not for the name in `to`"),
        ] {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.is_ca = is_ca;
            let (mut syslog, server) = talking(params);
            let error = syslog.send(&[(1, b"{}\n".to_vec())]).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("invalid peer certificate"), "{error}");
            drop(syslog);
            server.join().unwrap();
        }
    }

    #[test]
    fn a_server_that_goes_on_talking_confirms_nothing() {
        let (mut syslog, server) = talking(CertificateParams::new(vec!["localhost".to_owned()]).unwrap());
        let began = Instant::now();
        let error = syslog.read_to_the_end(began + Duration::from_millis(300)).unwrap_err();
        assert!(error.to_string().contains("open") && began.elapsed() < PATIENCE / 2, "{error}");
        drop(syslog);
        server.join().unwrap();
    }

    #[test]
    fn a_frame_counts_octets_and_its_header_is_of_rfc_5424() {
        let line = "{\"@timestamp\":\"2026-01-01T00:00:00.123456789Z\",\"event\":{\"action\":\"file.quarantined\",\"outcome\":\"failure\"},\"host\":{\"name\":\"höst a\"},\"file\":{\"name\":\"ü\"}}";
        let framed = frame(format!("{line}\n").as_bytes());
        let text = String::from_utf8(framed).unwrap();
        let (count, message) = text.split_once(' ').unwrap();
        assert_eq!(count.parse(), Ok(message.len()));
        assert_eq!(message, format!("<108>1 2026-01-01T00:00:00.123456Z hsta veild - file.quarantined - {line}"));
        assert_eq!(micros("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z");
        assert_eq!(String::from_utf8(frame(b"{}\n")).unwrap(), "25 <109>1 - - veild - - - {}");
    }
}
