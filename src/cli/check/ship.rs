//! Where the audit trail is carried: whether the daemon could.

use super::{Finding, Service};
use crate::audit::ship::Target;
use crate::cli::unit::Unit;
use crate::cli::unit::network::needed_for;
use crate::config::Config;

const MEND: &str = "veild init --drop-in && systemctl daemon-reload && systemctl restart veild";

pub(super) fn check(config: &Config, service: &Service) -> Vec<Finding> {
    let mut findings = Vec::new();
    for target in &config.audit.ship {
        let tried = service.account.does(service.capabilities, || crate::audit::ship::try_files(&target.to));
        let failed = match tried {
            Ok(done) => done.err().map(|error| crate::fsutil::chain(&error)),
            Err(error) => Some(format!("cannot try things as user {}: {error}", service.account.name)),
        };
        findings.extend(failed.map(|what| Finding::error(format!("[audit.ship.{}]: {what}", target.name))));
        findings.extend(service.unit.as_ref().and_then(|unit| reach(target, unit)));
    }
    findings
}

/// Whether the unit lets the service reach a target.
fn reach(target: &Target, unit: &Unit) -> Option<Finding> {
    let (name, host) = (&target.name, target.host()?);
    let needed = match needed_for(host) {
        Ok(needed) => needed,
        Err(error) => {
            let what = format!("[audit.ship.{name}]: the address of {host} cannot be found now: {error}");
            return Some(Finding::warning(what));
        }
    };
    let kept = needed.into_iter().find_map(|address| Some((address, unit.network.keeps_from(address)?)));
    kept.map(|(address, directive)| {
        let whose = if address.to_string() == host { String::new() } else { format!(", for {host}") };
        let what = format!("[audit.ship.{name}]: {directive} of the unit keeps veild from {address}{whose}");
        Finding::error(what).mend(MEND)
    })
}
