//! Links the examples as bootable images: own linker script, no C start files.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/link.ld");
    println!("cargo::rerun-if-changed={script}");
    if std::env::var_os("CARGO_FEATURE_BARE").is_some() {
        for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", &format!("-Wl,-T,{script}")] {
            println!("cargo::rustc-link-arg-examples={argument}");
        }
    }
}
