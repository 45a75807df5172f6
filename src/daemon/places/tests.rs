//! The health of places, without a disk.

use super::*;

const MIB: u64 = 1 << 20;

/// The example's places with `min_free = "64MiB"`, each with a file system of its own.
fn places() -> Places {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml.example"));
    let mut config = Config::load(path).unwrap();
    config.daemon.min_free = 64 * MIB;
    let mut places = Places::new(&config);
    for place in [Place::Audit, Place::State, Place::Vault, hr()] {
        assert_eq!(look(&mut places, place, 1000, false), Change::Nothing);
    }
    places
}

fn hr() -> Place {
    Place::Landing("hr".to_owned())
}

fn finding(place: Place, free_mib: u64, written: bool) -> Finding {
    let device = match &place {
        Place::Landing(_) => 2,
        _ => 1,
    };
    let space = Space { free_bytes: free_mib * MIB, total_bytes: 2000 * MIB, device };
    Finding { place, space: Some(space), written, obstacle: None }
}

fn look(places: &mut Places, place: Place, free_mib: u64, written: bool) -> Change {
    places.found(&finding(place, free_mib, written), 0, Duration::ZERO, Timestamp::UNIX_EPOCH)
}

fn fail(places: &mut Places, place: &Place, ailment: Ailment, seconds: u64) -> Change {
    places.failed(place, ailment, "cannot write", Duration::from_secs(seconds), Timestamp::UNIX_EPOCH)
}

#[test]
fn low_room_pauses_the_intake_alone_until_there_is_an_eighth_more() {
    let mut places = places();
    assert_eq!(look(&mut places, Place::Vault, 63, false), Change::Raised);
    assert!(places.pauses("hr").is_some() && !places.blocks("hr"));
    assert_eq!(look(&mut places, Place::Vault, 65, false), Change::Nothing);
    assert_eq!(look(&mut places, Place::Vault, 72, false), Change::Cleared(Ailment::Low));
    assert_eq!(look(&mut places, Place::Vault, 65, false), Change::Nothing);
}

#[test]
fn a_write_that_failed_blocks_until_one_succeeds_and_there_is_room() {
    let mut places = places();
    assert_eq!(fail(&mut places, &Place::Audit, Ailment::Full, 0), Change::Raised);
    assert!(places.blocks("hr"));
    assert_eq!(look(&mut places, Place::Audit, 1000, false), Change::Nothing, "nothing was written");
    assert_eq!(look(&mut places, Place::Audit, 10, true), Change::Nothing, "there is still no room");
    assert_eq!(look(&mut places, Place::Audit, 1000, true), Change::Cleared(Ailment::Full));
}

#[test]
fn a_trouble_that_lasts_is_said_again_now_and_then() {
    let mut places = places();
    assert_eq!(fail(&mut places, &Place::Vault, Ailment::Full, 0), Change::Raised);
    assert_eq!(fail(&mut places, &Place::Vault, Ailment::Full, 5), Change::Nothing);
    assert_eq!(fail(&mut places, &Place::Vault, Ailment::Full, 601), Change::Lasts);
    assert_eq!(fail(&mut places, &Place::Vault, Ailment::ReadOnly, 602), Change::Raised);
}

#[test]
fn a_landing_is_one_among_others_and_drains_itself() {
    let mut places = places();
    let waiting = 100 * MIB;
    let low = finding(hr(), 10, false);
    let change = places.found(&low, waiting, Duration::ZERO, Timestamp::UNIX_EPOCH);
    assert_eq!(change, Change::Nothing, "its own files are what fills it");
    assert_eq!(look(&mut places, hr(), 10, false), Change::Raised);
    assert!(places.pauses("hr").is_some() && places.pauses("other").is_none());
    assert_eq!(fail(&mut places, &hr(), Ailment::Full, 0), Change::Raised);
    assert!(!places.blocks("hr"));
    assert_eq!(fail(&mut places, &hr(), Ailment::ReadOnly, 0), Change::Raised);
    assert!(places.blocks("hr") && !places.blocks("other"));
}

#[test]
fn a_path_belongs_to_the_innermost_place() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml.example"));
    let config = Config::load(path).unwrap();
    let of = |path: &str| Place::of(Path::new(path), &config);
    assert_eq!(of("/var/lib/veild/ledger.sqlite"), Some(Place::State));
    assert_eq!(of("/var/lib/veild/vault/hr/x.age"), Some(Place::Vault));
    assert_eq!(of("/srv/landing/hr/.veild/01/x.csv"), Some(hr()));
    assert_eq!(of("/srv/landing/hr/x.csv"), None, "that is one file's matter");
}

#[test]
fn sizes_are_readable() {
    assert_eq!(
        [readable(17), readable(1536), readable(64 * MIB), readable(250 << 30)],
        ["17 B", "1.5 KiB", "64.0 MiB", "250 GiB"]
    );
}
