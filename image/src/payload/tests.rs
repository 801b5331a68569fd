//! What the guest relies on: order, names, content; and that nothing of the machine gets in.

use super::*;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};

fn members(archive: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(archive);
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        })
        .collect()
}

#[test]
fn the_configuration_comes_first_then_the_files_in_order() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("b/deep")).unwrap();
    fs::write(root.path().join("b/deep/x.txt"), "x").unwrap();
    fs::write(root.path().join("a.html"), "a").unwrap();
    fs::write(root.path().join("b.html"), "b").unwrap();
    let names: Vec<String> = members(&pack("# c", Some(root.path())).unwrap()).into_iter().map(|m| m.0).collect();
    assert_eq!(names, ["weir.toml", "files/a.html", "files/b.html", "files/b/deep/x.txt"]);
}

#[test]
fn without_files_there_is_only_the_configuration() {
    assert_eq!(members(&pack("[a]\n", None).unwrap()), [("weir.toml".into(), "[a]\n".into())]);
}

#[test]
fn the_same_content_gives_the_same_bytes_wherever_and_whenever_it_lies() {
    let archives = [(0o600, 1_000), (0o755, 2_000)].map(|(mode, seconds)| {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        pack("", Some(root.path())).unwrap()
    });
    assert_eq!(archives[0], archives[1]);
}

#[test]
fn a_link_to_a_file_stands_for_the_file_and_a_link_to_a_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), "content").unwrap();
    symlink("a", root.path().join("link")).unwrap();
    assert_eq!(members(&pack("", Some(root.path())).unwrap())[2], ("files/link".into(), "content".into()));
    symlink(".", root.path().join("circle")).unwrap();
    assert!(matches!(pack("", Some(root.path())), Err(PayloadError::UnknownKind(path)) if path.ends_with("circle")));
}

#[test]
fn names_that_the_archive_cannot_hold_are_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("n".repeat(101)), "").unwrap();
    assert!(matches!(pack("", Some(root.path())), Err(PayloadError::PathTooLong(_))));
}

#[test]
fn a_missing_root_and_a_file_as_root_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    assert!(matches!(pack("", Some(&missing)), Err(PayloadError::Unreadable { .. })));
    fs::write(&missing, "").unwrap();
    assert!(matches!(pack("", Some(&missing)), Err(PayloadError::NotAFolder(_))));
}
