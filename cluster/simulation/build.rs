//! Compiles the one function of the C library that the simulation defines itself.

fn main() {
    println!("cargo:rerun-if-changed=src/entropy.c");
    // Whole and at the last link, since nothing refers to it that would pull it out of an archive.
    cc::Build::new()
        .file("src/entropy.c")
        .warnings_into_errors(true)
        .link_lib_modifier("-bundle")
        .link_lib_modifier("+whole-archive")
        .compile("tandem_simulation_entropy");
}
