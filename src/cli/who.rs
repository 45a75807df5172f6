//! Who gave the command and from where, for audit records.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::account::Account;

/// Longest name of another host.
const MAX_HOST: usize = 253;

/// The user who logged in, and whom that user became.
pub fn user() -> Value {
    let named = |uid: u32| json!({"id": uid.to_string(), "name": Account::numbered(uid).name});
    let own = rustix::process::getuid().as_raw();
    // The kernel keeps the first of them from a login on, whatever sudo and su do; the other is sudo's word.
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(number);
    let sudo = || std::env::var("SUDO_UID").ok().filter(|_| own == 0).and_then(number);
    let mut user = named(login.or_else(sudo).unwrap_or(own));
    user["effective"] = named(own);
    user
}

/// The other host that they logged in from: logind's word of the session, which the kernel keeps as it keeps the user; where
/// that is missing, what sshd has told the shell. `None` for whoever sits here, and for timers.
pub fn source() -> Option<Value> {
    let session = std::fs::read_to_string("/proc/self/sessionid").ok().and_then(number);
    let session = session.and_then(|id| std::fs::read_to_string(format!("/run/systemd/sessions/{id}")).ok());
    let by_logind = session.as_deref().and_then(remote_host);
    let by_sshd = || std::env::var("SSH_CONNECTION").ok().as_deref().and_then(client);
    by_logind.or_else(by_sshd)
}

/// A number that stands for something: the kernel has the highest where there is nothing.
fn number(text: String) -> Option<u32> {
    text.trim().parse().ok().filter(|number| *number != u32::MAX)
}

/// `REMOTE_HOST=` in logind's file of a session.
fn remote_host(session: &str) -> Option<Value> {
    let host = session.lines().find_map(|line| line.strip_prefix("REMOTE_HOST="))?.trim();
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_' | b'%');
    if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(is_host) {
        return None;
    }
    Some(address(host))
}

/// `SSH_CONNECTION`: the client's address and port, then the server's.
fn client(connection: &str) -> Option<Value> {
    let client: IpAddr = connection.split(' ').next()?.parse().ok()?;
    Some(address(&client.to_string()))
}

fn address(host: &str) -> Value {
    match host.parse::<IpAddr>() {
        Ok(ip) => json!({"address": host, "ip": ip.to_string()}),
        Err(_) => json!({"address": host}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_host_and_nothing_else() {
        let session = |host: &str| remote_host(&format!("UID=0\nREMOTE=1\nREMOTE_HOST={host}\nSERVICE=sshd\n"));
        let by_address = json!({"address": "192.0.2.7", "ip": "192.0.2.7"});
        assert_eq!(session("192.0.2.7"), Some(by_address.clone()));
        assert_eq!(session("ann.example.com"), Some(json!({"address": "ann.example.com"})));
        assert_eq!((session(""), session("a b\u{1b}"), remote_host("UID=0\n")), (None, None, None));
        assert_eq!(client("192.0.2.7 50000 192.0.2.1 22"), Some(by_address));
        assert_eq!(client("2001:db8::7 50000 2001:db8::1 22").unwrap()["ip"], "2001:db8::7");
        assert_eq!((client("anything at all"), client("")), (None, None));
    }
}
