//! The Linux guest: Debian's cloud kernel, and an initramfs with busybox, nginx and HAProxy, made from what is installed here.
//!
//! What it runs is in `baseline/`, word by word. It is made once and kept below the target folder, until something that went
//! into it changes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weir_host::failure::Failure;
use weir_meter::lab::Failed;

use crate::check;
use crate::matrix::SHAPES;

const INIT: &str = include_str!("../baseline/init");

/// Configuration of nginx in the guest.
pub const NGINX: &str = include_str!("../baseline/nginx.conf");

/// Configuration of HAProxy in the guest.
pub const HAPROXY: &str = include_str!("../baseline/haproxy.cfg");

/// The modules that the script loads.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// A Linux guest that can be booted.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// The kernel.
    pub kernel: PathBuf,
    /// All its files.
    pub initramfs: PathBuf,
    /// Which kernel it is: the name of the package.
    pub kernel_name: String,
}

/// Makes the guest in a folder, or finds it there.
///
/// # Errors
/// When the kernel's package or a program is missing, or something cannot be made.
pub fn build(folder: &Path) -> Result<Baseline, Failure> {
    let package = package(&folder.join("kernel"))?;
    let programs = ["busybox", "nginx", "haproxy"].map(|name| check::find(name).ok_or(name));
    let programs = programs.into_iter().collect::<Result<Vec<_>, _>>();
    let programs = programs.map_err(|name| Failure::new(format!("{name} not found")).help("run './setup bench'"))?;
    make(folder, &package, &programs).map_err(|error| Failure::new(format!("cannot make the Linux guest: {error}")))
}

/// The newest package of a kernel in the folder.
fn package(folder: &Path) -> Result<PathBuf, Failure> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let packages = files.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    packages.max().ok_or_else(|| {
        Failure::new(format!("no Linux kernel in {}", folder.display())).help(
            "run './setup bench'; or put a package of Debian's cloud kernel there ('apt-get download' of what \
             linux-image-cloud-amd64 depends on)",
        )
    })
}

fn make(folder: &Path, package: &Path, programs: &[PathBuf]) -> Result<Baseline, Failed> {
    let baseline = Baseline {
        kernel: folder.join("baseline/vmlinuz"),
        initramfs: folder.join("baseline/initramfs"),
        kernel_name: package.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let mut files = programs.to_vec();
    files.extend(libraries(programs)?);
    let inputs = inputs(package, &files)?;
    let known = folder.join("baseline/inputs");
    if fs::read_to_string(&known).is_ok_and(|text| text == inputs) && baseline.kernel.is_file() {
        return Ok(baseline);
    }
    // Beside its place, so that one that is half done is never taken for a whole one.
    let new = tempfile::tempdir_in(folder)?;
    let unpacked = new.path().join("package");
    run(Command::new("dpkg").arg("-x").arg(package).arg(&unpacked))?;
    let root = new.path().join("root");
    let modules = fill(&root, &unpacked, &files)?;
    fs::create_dir_all(folder.join("baseline"))?;
    let kernel = fs::read_dir(unpacked.join("boot"))?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_kernel = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
    let kernel = kernel.into_iter().find(is_kernel).ok_or("the package has no kernel")?;
    if modules < MODULES.len() {
        return Err(format!("the package has only {modules} of {} modules", MODULES.len()).into());
    }
    let _ = fs::remove_file(&known);
    fs::copy(kernel, &baseline.kernel)?;
    fs::write(&baseline.initramfs, archive(&root)?)?;
    fs::write(&known, inputs)?;
    Ok(baseline)
}

/// What went into the guest, as a text to compare.
fn inputs(package: &Path, files: &[PathBuf]) -> Result<String, Failed> {
    let mut text = String::new();
    for path in files.iter().map(PathBuf::as_path).chain([package]) {
        let metadata = fs::metadata(path)?;
        writeln!(text, "{} {} {:?}", path.display(), metadata.len(), metadata.modified()?)?;
    }
    Ok(text + INIT + NGINX + HAPROXY)
}

/// The libraries that the programs name. Busybox must not name any: it runs before there are some.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Failed> {
    let mut libraries = BTreeSet::new();
    for program in programs {
        let output = Command::new("ldd").arg(program).output()?;
        let found = library_paths(&String::from_utf8_lossy(&output.stdout));
        if program.ends_with("busybox") && !found.is_empty() {
            return Err(format!("{} is not static; install busybox-static", program.display()).into());
        }
        libraries.extend(found);
    }
    Ok(libraries)
}

/// Reads `libz.so.1 => /lib/libz.so.1 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn library_paths(said: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.into_iter().find(|word| word.starts_with('/')).map(PathBuf::from)
    };
    said.lines().filter_map(path).collect()
}

/// Puts all files where the guest wants them; returns how many modules there were.
fn fill(root: &Path, unpacked: &Path, files: &[PathBuf]) -> Result<usize, Failed> {
    for path in files {
        let place = root.join(path.strip_prefix("/")?);
        fs::create_dir_all(place.parent().ok_or("a file without a folder")?)?;
        fs::copy(path, place)?;
    }
    for folder in ["bin", "etc", "modules", "srv/files", "dev", "run", "tmp", "var/log/nginx", "var/lib/nginx"] {
        fs::create_dir_all(root.join(folder))?;
    }
    if !root.join("bin/busybox").exists() {
        symlink("/usr/bin/busybox", root.join("bin/busybox"))?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("etc/nginx.conf"), NGINX)?;
    fs::write(root.join("etc/haproxy.cfg"), HAPROXY)?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    write_files(&root.join("srv/files"))?;
    let mut modules = 0;
    let mut folders = vec![unpacked.join("lib/modules")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ko") && MODULES.contains(&stem.as_str()) {
                fs::copy(&path, root.join("modules").join(format!("{stem}.ko")))?;
                modules += 1;
            }
        }
    }
    Ok(modules)
}

/// The files that all servers serve: one for each size.
///
/// # Errors
/// When they cannot be written.
pub fn write_files(folder: &Path) -> Result<(), Failed> {
    fs::create_dir_all(folder)?;
    for shape in SHAPES {
        fs::write(folder.join(shape.size.to_string()), vec![b'w'; shape.size as usize])?;
    }
    Ok(())
}

/// Packs a folder as the kernel reads it. Not compressed: the guest boots faster that way.
fn archive(root: &Path) -> Result<Vec<u8>, Failed> {
    let mut names = vec![".".to_owned()];
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            names.push(entry.path().strip_prefix(root)?.to_str().ok_or("a name that is no text")?.to_owned());
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    names.sort();
    let mut child = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("cpio has no input")?;
    // The names are few enough for a pipe, and cpio reads them all before long.
    let writer = std::thread::spawn(move || stdin.write_all((names.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| "cpio took no names")??;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("cpio failed ({})", output.status).into()) }
}

fn run(command: &mut Command) -> Result<(), Failed> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed ({}): {said}", command.get_program().display(), output.status).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_is_understood() {
        let said = "\tlinux-vdso.so.1 (0x00007f)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = library_paths(said);
        assert_eq!(paths, [Path::new("/lib/x86_64-linux-gnu/libz.so.1"), Path::new("/lib64/ld-linux-x86-64.so.2")]);
        assert!(library_paths("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn a_missing_kernel_has_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let failure = package(folder.path()).unwrap_err().to_string();
        assert!(failure.contains("no Linux kernel in") && failure.contains("./setup bench"), "{failure}");
        fs::write(folder.path().join("linux-image-6.1.0-9.deb"), "").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        assert!(package(folder.path()).unwrap().ends_with("linux-image-6.1.0-9.deb"));
    }

    #[test]
    fn the_script_loads_the_modules_that_are_packed() {
        let wanted = format!("for module in {}; do", MODULES.join(" "));
        assert!(INIT.contains(&wanted), "{wanted}");
    }

    #[test]
    fn an_archive_has_all_files() {
        let folder = tempfile::tempdir().unwrap();
        write_files(&folder.path().join("a/b")).unwrap();
        if check::find("cpio").is_none() {
            return;
        }
        let archive = String::from_utf8_lossy(&archive(folder.path()).unwrap()).into_owned();
        assert!(archive.contains("a/b/65536") && archive.contains("TRAILER!!!"));
    }
}
