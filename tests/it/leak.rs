//! Canaries in every cell; afterwards none in any byte outside the plain quarantine.

use std::fs;

use crate::sandbox::{Sandbox, files_below};

/// Cells that no mask of the site's policy lets through, and no log may repeat.
const CANARY: &str = "QzCanary7";

#[test]
fn no_cell_value_is_left_anywhere() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    let header = "id,name,ssn,email,dob,country,notes\n";
    let row = format!("{CANARY}1,{CANARY}2,{CANARY}3,{CANARY}4,1987-01-01,{CANARY}6,{CANARY}7\n");
    sandbox.drop_file("good.csv", format!("{header}{row}"));
    sandbox.drop_file("ragged.csv", format!("{header}{row}{CANARY},{CANARY}\n"));
    sandbox.drop_file("mistyped.csv", format!("{header}{}", row.replace("1987-01-01", CANARY)));
    sandbox.drop_file("headerless.csv", &row);
    sandbox.drop_file("quote.csv", format!("{header}\"{CANARY}\"{CANARY},{CANARY}\n"));
    sandbox.drop_file("binary.csv", [CANARY.as_bytes(), b"\0\xff\xfe", CANARY.as_bytes()].concat());
    let daemon = sandbox.daemon();
    sandbox.wait_for("all files", || sandbox.receipts().len() + sandbox.quarantined().len() == 7);
    let in_memory = daemon.memory_holds(CANARY.as_bytes());
    assert!(!in_memory, "a cell value in the daemon's memory");
    assert!(daemon.memory_holds(b"config.toml"), "the search of the daemon's memory finds nothing at all");
    daemon.stop();
    assert_eq!(sandbox.receipts().len(), 2, "{:?}", sandbox.quarantined());
    assert_eq!(sandbox.json(&["vault", "list", "--archive"]).as_array().unwrap().len(), 1);
    for path in files_below(sandbox.dir.path()) {
        if path.file_name().is_some_and(|name| name == "original") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "a cell value in {}", path.display());
    }
}
