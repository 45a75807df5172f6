//! veild masks and seals every file that lands on an ingest host.
//!
//! # A tour, in the order in which a file meets the code
//!
//! 1. [`watch`] turns notify events and sweeps into path hints: *something may be at this path*.
//! 2. [`intake`] decides, purely, whether a file is finished: wait, claim or ignore.
//! 3. [`spool`] claims it by a rename into the landing's own `.veild/` directory, on the same file system.
//! 4. [`ledger`] records the job and each attempt in SQLite before any work starts.
//! 5. [`worker`] hands open file descriptors to a child process, which opens no paths and starts nothing: age plugins run
//!    below the daemon ([`seal::plugin`]).
//! 6. [`pipeline`] runs there: it tells the format by the content, scans it, cuts the cells of the masked columns out
//!    ([`policy`] says which), masks them as Polars columns ([`mask`]), splices them back between the original bytes,
//!    looks for leaks in what goes out, converts it where the landing says so, and seals it ([`seal`]). Of columnar files
//!    whose rows all stay the masked columns alone are written anew; archives go through it member by member.
//! 7. [`vault`] publishes receipt, signature and object, in this order, durably, and all outputs of a file or none; a
//!    rejected file goes to [`quarantine`] with its reason. What can be seen there is changed through a journal only:
//!    pruned ([`vault::prune`]), or sealed to other readers ([`vault::rewrap`]).
//! 8. [`audit`] appends one tamper-evident record for each outcome, durably, before the source is removed; checkpoints are
//!    signed, and sealed under a key that is erased after use ([`audit::epoch`]). Threads of its own carry it elsewhere
//!    ([`audit::ship`]).
//!
//! [`anonymity`] finds how coarse quasi-identifiers must become, and which rows must go, so that nobody stands out in a file;
//! the pipeline counts in a first reading and does it in a second.
//!
//! [`detect`] knows classes of personal data by their writing and their checks; `veild detect` and `veild policy suggest`
//! look at files with it.
//!
//! [`daemon`] owns the loop that drives all this, and pauses what depends on a disk in trouble ([`daemon::places`]);
//! [`config`], [`keys`], [`telemetry`], [`plaintext`], [`fsutil`] and [`job`] serve
//! every step. [`cli`] holds one file per command.
//!
//! # What is deliberately absent
//!
//! - The daemon process parses no file content and holds no plaintext: only workers read input.
//! - No mask, policy, anonymity or intake decision touches the file system, the clock or a log.
//! - Polars' own CSV reader: it repairs what must be refused, and quotes cell values in its errors.

pub mod account;
pub mod anonymity;
pub mod audit;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod detect;
pub mod faults;
pub mod fsutil;
pub mod intake;
pub mod job;
pub mod keys;
pub mod ledger;
pub mod mask;
pub mod pipeline;
pub mod plaintext;
pub mod policy;
pub mod quarantine;
pub mod seal;
pub mod spool;
pub mod telemetry;
pub mod vault;
pub mod watch;
pub mod worker;
