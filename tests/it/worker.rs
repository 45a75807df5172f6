//! What a worker's end or silence costs: its own file an attempt, the others nothing.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::crash::{GOOD, assert_all_accounted, drop_all};
use crate::sandbox::{Sandbox, state_of};

/// Steps at which a worker has not yet said that it started.
const BEFORE: [&str; 2] = ["worker_ready", "task_received"];
const DURING: [&str; 11] = [
    "worker_started",
    "header_read",
    "block_masked",
    "block_written",
    "before_finish",
    "after_finish",
    "before_reply",
    "replied",
    "original_block_sealed",
    "before_original_finish",
    "original_sealed",
];

/// Kills (or whatever the fault says) the first worker at a step; what the log has then.
fn first_worker_fails(fault: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.seal_quarantine();
    if fault.contains("archive") {
        sandbox.archive_originals();
    }
    sandbox.edit_config("min_free = ", "worker_timeout = \"5s\"\nmin_free = ");
    drop_all(&sandbox);
    let daemon = sandbox.daemon_with(&[("VEILD_WORKER_FAULT_ONCE", fault)]);
    sandbox.wait_for("all files", || sandbox.landing_is_empty());
    daemon.stop();
    assert_all_accounted(&sandbox, fault);
    assert!(sandbox.quarantined().iter().all(|it| it["sealed"] == true), "{fault}");
    let log = sandbox.log();
    (sandbox, log)
}

fn deaths(sandbox: &Sandbox) -> Vec<u32> {
    sandbox.ledger().into_iter().map(|row| row.died).filter(|died| *died > 0).collect()
}

#[test]
fn a_worker_killed_at_any_named_step_costs_one_file_one_attempt() {
    for step in DURING {
        for visit in [1, 2] {
            let fault = format!("{step}:{visit}");
            let (sandbox, log) = first_worker_fails(&fault);
            // Only the worker that had the bad file seals an original, once; and with two workers the second visit
            // may be the other's. What has been replied was no longer at work.
            let at_most = usize::from(step != "replied");
            let dead = deaths(&sandbox);
            assert!(dead.len() <= at_most && dead.iter().all(|died| *died == 1), "{fault}: {dead:?}");
            assert_eq!(log.matches("worker_died").count(), dead.len(), "{fault}");
            let sealing = step.contains("original");
            assert!(visit == 2 || sealing || dead.len() == at_most, "{fault} was never reached");
        }
    }
}

#[test]
fn a_worker_that_ends_before_it_has_started_anything_costs_nobody_anything() {
    for step in BEFORE {
        let (sandbox, log) = first_worker_fails(step);
        assert_eq!(deaths(&sandbox), [] as [u32; 0], "{step}");
        assert!(log.contains("ended before the work"), "{step} was never reached");
    }
}

#[test]
fn a_worker_crashes_or_panics_as_it_dies() {
    for fault in ["block_masked=abort", "block_masked=segv", "block_masked=panic", "header_read=panic"] {
        let (sandbox, _) = first_worker_fails(fault);
        assert_eq!(deaths(&sandbox), [1], "{fault}");
    }
}

#[test]
fn a_worker_killed_before_its_archived_original_is_whole_leaves_none_behind() {
    let (sandbox, _) = first_worker_fails("before_archive_finish");
    assert_eq!(deaths(&sandbox), [1]);
    assert_eq!(sandbox.json(&["vault", "list", "--archive"]).as_array().unwrap().len(), 3);
}

#[test]
fn a_slow_worker_is_not_taken_for_a_hung_one() {
    let rows = "1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n".repeat(6 << 20 >> 6);
    for (step, ending) in [("block_written", ""), ("original_block_sealed", "2,ragged\n")] {
        let sandbox = Sandbox::new();
        sandbox.seal_quarantine();
        let header = GOOD.lines().next().unwrap();
        sandbox.drop_file("long.csv", format!("{header}\n{rows}{ending}"));
        let fault = format!("{step}=slow");
        sandbox.edit_config("min_free = ", "worker_timeout = \"2500ms\"\nmin_free = ");
        let daemon = sandbox.daemon_with(&[("VEILD_WORKER_FAULT", &fault)]);
        sandbox.wait_for("the file", || sandbox.landing_is_empty());
        daemon.stop();
        assert_eq!(sandbox.receipts().len() + sandbox.quarantined().len(), 1);
        assert!(!sandbox.log().contains("worker_hung"), "{step}: {}", sandbox.log());
        assert_eq!(deaths(&sandbox), [] as [u32; 0]);
    }
}

#[test]
fn a_hung_worker_is_replaced() {
    for step in ["header_read", "block_masked", "before_reply"] {
        let (sandbox, log) = first_worker_fails(&format!("{step}=stop"));
        assert_eq!(deaths(&sandbox), [1], "{step}");
        assert_eq!(log.matches("worker_hung").count(), 1, "{step}");
    }
}

/// A file that ends its workers among others in one batch: they are retried singly and never charged.
#[test]
fn a_deadly_file_costs_itself_three_attempts_and_its_batch_mates_nothing() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = ", "workers = 1\nmin_free = ");
    let deadly = format!("{GOOD}2,Bob,123-45-6789,b@example.com,1987-04-12,US,deadly\n");
    for index in 0..5 {
        sandbox.drop_file(&format!("a{index}.csv"), GOOD);
        sandbox.drop_file(&format!("z{index}.csv"), GOOD);
    }
    sandbox.drop_file("m.csv", &deadly);
    let fault = format!("input_of_{}_bytes", deadly.len());
    let daemon = sandbox.daemon_with(&[("VEILD_WORKER_FAULT", &fault)]);
    sandbox.wait_for("all files", || sandbox.landing_is_empty());
    daemon.stop();
    assert_eq!(sandbox.receipts().len(), 10);
    let quarantined = sandbox.quarantined();
    assert_eq!(quarantined.len(), 1);
    let reason = &quarantined[0];
    assert_eq!((reason["code"].as_str(), reason["attempts"].as_u64()), (Some("worker_died"), Some(3)));
    assert_eq!(reason["original_name"], "m.csv");
    assert_eq!(deaths(&sandbox), [3], "a batch-mate was charged");
    sandbox.assert_audit_holds();
}

/// The limit is real: a record that does not fit takes its worker with it, and nothing else.
#[test]
fn a_file_that_needs_too_much_memory_hurts_only_itself() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = ", "worker_memory = \"128MiB\"\nmin_free = ");
    sandbox.edit_config("quiet = ", "limits.max_record = \"512MiB\"\nquiet = ");
    let (before, after) = GOOD.split_at(GOOD.len() - 2);
    sandbox.drop_file("huge.csv", [before, &"x".repeat(100 << 20), after].concat());
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts()[0]["original_name"], "good.csv");
    let quarantined = sandbox.quarantined();
    assert_eq!((quarantined.len(), &quarantined[0]["code"]), (1, &"worker_died".into()));
}

/// What is tried by hand meets the limit that the daemon would meet.
#[test]
fn commands_that_read_a_file_take_no_more_than_a_worker() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("quiet = ", "limits.max_record = \"512MiB\"\nquiet = ");
    let (before, after) = GOOD.split_at(GOOD.len() - 2);
    let huge = sandbox.path("huge.csv");
    fs::write(&huge, [before, &"x".repeat(100 << 20), after].concat()).unwrap();
    sandbox.edit_config("min_free = ", "worker_memory = \"128MiB\"\nmin_free = ");
    let test = ["policy", "test", huge.to_str().unwrap(), "--policy", "people", "--landing", "people"];
    let stopped = sandbox.veild(&test);
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("`worker_memory` in [daemon] is 134217728 bytes"), "{said}");
}

/// A daemon's death leaves its workers behind for a moment; they must not meddle with what the next one does.
#[test]
fn a_worker_that_has_lost_its_daemon_harms_nothing() {
    let sandbox = Sandbox::new();
    sandbox.seal_quarantine();
    drop_all(&sandbox);
    let daemon = sandbox.daemon_with(&[("VEILD_WORKER_FAULT", "block_written=stop")]);
    sandbox.wait_for("both workers to stand still", || {
        let workers = daemon.workers();
        workers.len() == 2 && workers.iter().all(|worker| state_of(*worker) == Some('T'))
    });
    let orphans = daemon.workers();
    drop(daemon);
    sandbox.run_until_idle();
    orphans.iter().for_each(|worker| kill_process(*worker, Signal::CONT).unwrap());
    wait_for_the_end_of(&sandbox, &orphans);
    assert_all_accounted(&sandbox, "orphaned workers");
}

/// It must not work on to the end of a large file, while the next daemon works on the same.
#[test]
fn a_worker_that_has_lost_its_daemon_ends_amid_its_work() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    let daemon = sandbox.daemon_held_at("worker_started");
    let at_work = |worker: &Pid| thread_names(*worker).iter().any(|name| name == "parent");
    sandbox.wait_for("a worker", || daemon.workers().iter().any(at_work));
    let orphans = daemon.workers();
    drop(daemon);
    wait_for_the_end_of(&sandbox, &orphans);
    assert!(sandbox.path("hold").exists() && sandbox.receipts().is_empty());
    sandbox.let_go();
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 1);
}

fn wait_for_the_end_of(sandbox: &Sandbox, workers: &[Pid]) {
    sandbox.wait_for("the orphans' end", || workers.iter().all(|worker| matches!(state_of(*worker), None | Some('Z'))));
}

fn thread_names(process: Pid) -> Vec<String> {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|it| Some(fs::read_to_string(it.path().join("comm")).ok()?.trim().to_owned()))
        .collect()
}
