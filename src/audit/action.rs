//! What happens, and how Elastic Common Schema files it.

use serde::{Deserialize, Serialize};

/// What happened; the closed list of `event.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    #[serde(rename = "daemon.started")]
    DaemonStarted,
    #[serde(rename = "daemon.recovered")]
    DaemonRecovered,
    #[serde(rename = "daemon.stopped")]
    DaemonStopped,
    #[serde(rename = "config.loaded")]
    ConfigLoaded,
    #[serde(rename = "config.rejected")]
    ConfigRejected,
    #[serde(rename = "file.sealed")]
    FileSealed,
    #[serde(rename = "file.quarantined")]
    FileQuarantined,
    #[serde(rename = "file.skipped")]
    FileSkipped,
    #[serde(rename = "file.retried")]
    FileRetried,
    #[serde(rename = "file.released")]
    FileReleased,
    #[serde(rename = "file.shown")]
    FileShown,
    #[serde(rename = "file.discarded")]
    FileDiscarded,
    #[serde(rename = "landing.paused")]
    LandingPaused,
    #[serde(rename = "landing.resumed")]
    LandingResumed,
    #[serde(rename = "vault.opened")]
    VaultOpened,
    #[serde(rename = "vault.verified")]
    VaultVerified,
    #[serde(rename = "vault.rewrapped")]
    VaultRewrapped,
    #[serde(rename = "vault.pruned")]
    VaultPruned,
    #[serde(rename = "vault.exported")]
    VaultExported,
    #[serde(rename = "token.revealed")]
    TokenRevealed,
    #[serde(rename = "token.mapped")]
    TokenMapped,
    #[serde(rename = "key.generated")]
    KeyGenerated,
    #[serde(rename = "key.rotated")]
    KeyRotated,
    #[serde(rename = "auth.succeeded")]
    AuthSucceeded,
    #[serde(rename = "auth.failed")]
    AuthFailed,
    #[serde(rename = "api.called")]
    ApiCalled,
    #[serde(rename = "alert.raised")]
    AlertRaised,
    #[serde(rename = "alert.cleared")]
    AlertCleared,
    #[serde(rename = "audit.rotated")]
    AuditRotated,
    #[serde(rename = "audit.repaired")]
    AuditRepaired,
    #[serde(rename = "audit.pruned")]
    AuditPruned,
    #[serde(rename = "audit.exported")]
    AuditExported,
    #[serde(rename = "audit.hold_added")]
    AuditHoldAdded,
    #[serde(rename = "audit.hold_removed")]
    AuditHoldRemoved,
    #[serde(rename = "audit.checkpoint")]
    AuditCheckpoint,
}

impl Action {
    /// `event.category` and `event.type`: what the schema allows together.
    pub(super) fn class(self) -> (&'static str, &'static str) {
        use Action::*;
        match self {
            DaemonStarted => ("process", "start"),
            DaemonRecovered | LandingPaused | LandingResumed => ("process", "change"),
            DaemonStopped => ("process", "end"),
            ConfigLoaded | ConfigRejected | KeyRotated => ("configuration", "change"),
            KeyGenerated | AuditHoldAdded => ("configuration", "creation"),
            AuditHoldRemoved => ("configuration", "deletion"),
            FileSealed | AuditRotated => ("file", "creation"),
            FileQuarantined | FileRetried | VaultRewrapped | AuditRepaired => ("file", "change"),
            FileSkipped | FileDiscarded | VaultPruned | AuditPruned => ("file", "deletion"),
            FileShown | FileReleased | VaultOpened | VaultVerified | VaultExported | TokenRevealed | TokenMapped
            | AuditExported => ("file", "access"),
            AuditCheckpoint => ("file", "info"),
            AuthSucceeded | AuthFailed => ("authentication", "start"),
            ApiCalled => ("api", "access"),
            AlertRaised | AlertCleared => ("host", "info"),
        }
    }

    /// `event.kind`.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Action::AlertRaised | Action::AlertCleared => "alert",
            _ => "event",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_filed_where_the_schema_allows_it() {
        let allowed: Vec<Vec<&str>> = include_str!("../../tests/fixtures/ecs/values.tsv")
            .lines()
            .map(|line| line.split('\t').collect())
            .collect();
        // serde knows all names.
        let known = serde_json::from_str::<Action>("\"\"").unwrap_err().to_string();
        let names: Vec<&str> = known.split('`').skip(3).step_by(2).collect();
        assert!(names.len() > 30 && names.contains(&"audit.checkpoint"), "{known}");
        for name in names {
            let action: Action = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            let (category, kind) = action.class();
            let row = allowed.iter().find(|row| row[..2] == ["event.category", category]).unwrap();
            assert!(row[2].split(',').any(|it| it == kind), "{name}: {category} takes {}", row[2]);
            assert!(allowed.iter().any(|row| row[..2] == ["event.kind", action.kind()]), "{name}");
        }
    }
}
