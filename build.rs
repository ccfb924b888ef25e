//! Sets the linker up for a Node.js addon.

fn main() {
    #[cfg(feature = "node")]
    napi_build::setup();
}
