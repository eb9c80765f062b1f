//! Builds anew when the pages have been.

fn main() {
    println!("cargo:rerun-if-changed=../../dashboard/dist");
}
