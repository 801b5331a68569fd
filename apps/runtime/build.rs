//! Links the image: the kernel's linker script, no C start files. Flags of code generation come with the builder, see
//! `weir_kernel`.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernel/link.ld");
    println!("cargo::rerun-if-changed={script}");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", &format!("-Wl,-T,{script}")] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if !flags.contains("relocation-model=static") {
        println!("cargo::warning=the image needs RUSTFLAGS=\"-C relocation-model=static -C force-frame-pointers=yes\"");
    }
}
