//! Where the audit trail is carried: whether the daemon could.

use super::{Finding, Service};
use crate::config::Config;

pub(super) fn check(config: &Config, service: &Service) -> Vec<Finding> {
    let mut findings = Vec::new();
    for target in &config.audit.ship {
        let tried = service.account.does(service.capabilities, || crate::audit::ship::try_files(&target.to));
        let failed = match tried {
            Ok(done) => done.err().map(|error| crate::fsutil::chain(&error)),
            Err(error) => Some(format!("cannot try things as user {}: {error}", service.account.name)),
        };
        findings.extend(failed.map(|what| Finding::error(format!("[audit.ship.{}]: {what}", target.name))));
    }
    findings
}
