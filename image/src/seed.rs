//! Configuration disks: NoCloud's, with the label `cidata` and the configuration as `user-data`.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::disk::{DATE_DIGITS, DATE_SECONDS, DiskError, file_error, run};

/// Makes an ISO 9660 with `config` on it. The same text gives the same bytes.
///
/// # Errors
/// `xorriso` is missing or fails, or the result cannot be written.
pub fn build(config: &str, output: &Path) -> Result<(), DiskError> {
    let folder = tempfile::tempdir().map_err(file_error(&env::temp_dir()))?;
    // Who reads NoCloud disks looks for both.
    for (name, text) in [("user-data", config), ("meta-data", "instance-id: weir\n")] {
        let path = folder.path().join(name);
        fs::write(&path, text).map_err(file_error(&path))?;
    }
    let iso = folder.path().join("iso");
    let mut xorriso = Command::new("xorriso");
    xorriso.env("SOURCE_DATE_EPOCH", DATE_SECONDS).env("LC_ALL", "C").current_dir(folder.path());
    xorriso.args(["-as", "genisoimage", "-quiet", "-V", "cidata", "-J", "-r"]);
    xorriso.arg(format!("--modification-date={DATE_DIGITS}")).args(["-o", "iso", "user-data", "meta-data"]);
    // Of the root directory, too, which none of the options of the emulation reaches.
    xorriso.args(["--", "-alter_date_r", "b", &format!("={DATE_SECONDS}"), "/", "--"]);
    run(xorriso, "xorriso", "xorriso")?;
    let bytes = fs::read(&iso).map_err(file_error(&iso))?;
    fs::write(output, bytes).map_err(file_error(output))
}
