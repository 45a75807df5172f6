//! What to do about each alert of the operational log; the README's table says it at more length.

/// The remedy for a code; `None` where its line says it, or where nothing is to be done.
pub fn for_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "file_changed" => "tell the sender to upload under another name and rename, or to use a marker",
        "file_irregular" => "remove the link, FIFO, socket or device from the landing",
        "file_hardlinked" => "remove the file's other name",
        "file_interrupted" => "look at the file and at the host's memory; it goes on alone",
        "lease_unavailable" => "grant the daemon CAP_LEASE, or raise `quiet` above the senders' pauses",
        "worker_died" | "worker_hung" => {
            "raise `worker_memory` if it comes again; the file is tried `max_attempts` times"
        }
        "watch_failed" => {
            "raise fs.inotify.max_user_watches or max_user_instances (sysctl); sweeps find files meanwhile"
        }
        "leak_sealed" => "the receipt says which columns leak what; mask them, or accept the false alarm in the policy",
        "claim_failed" => "`veild check` says how to mend owner and mode of the landing",
        "source_gone" => "find out who removes files from .veild/, and ask the sender for the file again",
        "quarantine_upkeep_failed" => "look at the disk, or give the command again that the line names",
        "vault_upkeep_failed" => "`veild vault verify` says which objects are not as their receipts say",
        "commit_failed" => "the line says what stands in the way; it is tried again ever more seldom",
        "quarantine_stuck" => "`veild quarantine list` shows what is there",
        "publication_undone" => "check the vault's disk",
        "config_rejected" => "mend the file, `veild check`, then reload",
        "spool_left" => "put the landing back into the configuration and reload",
        "audit_truncated" => "find out who cut the trail's end off; a copy elsewhere has the missing records",
        "audit_over_budget" => "raise `total_size`, or end a hold (`veild audit hold list`)",
        "audit_pruned_early" => "raise `total_size` if the records were to stay for `keep`",
        "audit_upkeep_failed" => "`veild audit verify` says whether the trail holds",
        "audit_ship_late" => "look at the target and at the way to it; records wait in the trail meanwhile",
        "audit_ship_missed" => "raise `total_size`: the records are gone, here and there",
        "audit_ship_again" => "find out who replaced the trail, if that was nobody of you",
        "audit_failed" => "`veild audit verify` says whether the trail holds",
        _ => return None,
    })
}
