//! One binary for all integration tests.
//!
//! - `sandbox.rs`: a site in a temporary folder and the real binary; no tests.
//! - `mounts.rs`: file systems of their own; no tests.
//! - `main_way.rs`: from landing to vault or quarantine, and what veild writes about it.
//! - `outputs.rs`: several outputs of one file.
//! - `unrecognised.rs`: files that no reader takes, sealed as they are.
//! - `duplicates.rs`: files whose content was sealed before.
//! - `crash.rs`: kills at named points and at random, and what must hold afterwards.
//! - `uploaders.rs`: what real uploaders do, as other users and through sshd too.
//! - `network_fs.rs`: landings on FUSE, mounts that go and come, watches that run out.
//! - `disks.rs`: full and failing file systems, and (`disks/gone.rs`) read-only and missing ones, on real mounts.
//! - `formats.rs`: every format, made and read by the stock tools.
//! - `conversions.rs`: outputs in another format than what landed, read by programs that are not veild.
//! - `fidelity.rs`: byte identity, and masks against `reference.rs`, a slow second way through the same text.
//! - `worker.rs`: workers that die, crash, panic, hang, need too much, or are left behind.
//! - `recipients.rs`: who can open what, and how policies name columns.
//! - `groups.rs`: recipients by the name of their group, and groups with nobody in them.
//! - `peers.rs`: what the other age implementations open and seal; `tests/peers/prepare` installs them.
//! - `vectors.rs`: the published test vectors for age.
//! - `passphrase.rs`: sealing with a secret that this host holds.
//! - `plugins.rs`: recipients and identities of age plugins.
//! - `names.rs`: names that do harm to whoever reads of them.
//! - `trail.rs`: the audit trail in an auditor's hands.
//! - `ecs.rs`: every audit record against Elastic Common Schema.
//! - `leak.rs`: canaries in every cell, and a search of every byte left behind.
//! - `receivers.rs`: central log stores that refuse, stall and break off; no tests.
//! - `ship.rs`: the audit trail carried elsewhere by veild itself.
//! - `shippers.rs`: shippers beside veild, with the real rsyslog.
//! - `filebeat.rs`: likewise with Filebeat, where that is installed.
//! - `objects.rs`: vaults full of objects of any age; no tests.
//! - `prune.rs`: objects that were kept long enough; kills at every step.
//! - `rewrap.rs`: objects for other readers; kills at every step.
//! - `full_conversions.rs`: conversions into a full disk.
//! - `full_vault.rs`: pruning, rewrapping and exporting where a disk is full.
//! - `vault_use.rs`: opening, checking and exporting what is in the vault.
//! - `sabotage.rs`: a vault in the hands of somebody who may write there.
//! - `soak.rs`: everything at random for a while, for as long as one likes.
//! - `order.rs`: the order of write, fsync, rename and removal, as the kernel saw it.
//! - `retention.rs`: old audit records: compressed, pruned, held, handed on; kills at every step of it.
//! - `expiry.rs`: quarantined originals that were kept long enough, and a quarantine that holds too much.
//! - `retry.rs`: rejected files on their way back, through kills at every step.
//! - `versions.rs`: what earlier versions left behind, kept in `tests/fixtures/`.
//! - `receipts.rs`: receipts as people and programs read them.
//! - `reload.rs`: SIGHUP while files are in flight.
//! - `stop.rs`: between the signal and the end.
//! - `systemd.rs`: the unit under a real systemd, in the booted container of `machine.rs`.
//! - `daemonize.rs`: the daemon on hosts without systemd.
//! - `commands.rs`: the command line as a user meets it.
//! - `site.rs`: setting a site up, and what `check` says of one that is not as it should be.
//! - `status.rs`: is all well, and if not, what is to be done?
//! - `seeds.rs`: the seeds of the fuzz targets in `fuzz/`.
//! - `sealed.rs`: the audit trail's forward-secure key, from `init` to an auditor without veild.
//! - `snapshots.rs`: what people read, compared with `snapshots/`.
//! - `generated.rs`: JSON Schema, man pages and shell completions.
//! - `generalize.rs`: intervals, hierarchies, patterns and prefixes through the running system.
//! - `pseudonyms.rs`: keys and their versions, the same pseudonym everywhere, and the way back.
//! - `dates.rs`: dates that are shifted by their subject.
//! - `cookbook.rs`: the README's policies, each as it stands there.
//! - `anonymity.rs`: files in which nobody stands out, the published optimum, and what pycanon says of them.
//! - `conditions.rs`: rules that count for some rows only.
//! - `presets.rs`: what policies extend, and columns that are told by their class.
//! - `detect.rs`: classes of personal data in files, and the policies suggested from them.
//! - `verify.rs`: the leak scan: what is blocked, sealed with a warning, accepted, and shown before.

mod anonymity;
mod commands;
mod conditions;
mod conversions;
mod cookbook;
mod crash;
mod daemonize;
mod dates;
mod detect;
mod disks;
mod duplicates;
mod ecs;
mod expiry;
mod fidelity;
mod filebeat;
mod formats;
mod full_conversions;
mod full_vault;
mod generalize;
mod generated;
mod groups;
mod leak;
mod machine;
mod main_way;
mod mounts;
mod names;
mod network_fs;
mod objects;
mod order;
mod outputs;
mod passphrase;
mod peers;
mod plugins;
mod presets;
mod prune;
mod pseudonyms;
mod receipts;
mod receivers;
mod recipients;
mod reference;
mod reload;
mod retention;
mod retry;
mod rewrap;
mod sabotage;
mod sandbox;
mod sealed;
mod seeds;
mod ship;
mod shippers;
mod site;
mod snapshots;
mod soak;
mod status;
mod stop;
mod systemd;
mod trail;
mod unrecognised;
mod uploaders;
mod vault_use;
mod vectors;
mod verify;
mod versions;
mod worker;
