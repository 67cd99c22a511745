//! Whatever a model server sends: the run ends exactly once, and it ends the same however the bytes are cut.
//!
//! The first byte chooses the status and the second the size of the pieces; the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use telson_fuzz::World;

fuzz_target!(|data: &[u8]| {
    let [status, size, body @ ..] = data else { return };
    let status = match status % 8 {
        0 => 401,
        1 => 429,
        2 => 500,
        _ => 200,
    };
    let whole = World::with_model(status, vec![body.to_vec()]).chat();
    let size = usize::from(*size % 61) + 1;
    let pieces = World::with_model(status, body.chunks(size).map(<[u8]>::to_vec).collect()).chat();
    assert_eq!(whole, pieces, "the outcome depends on how the bytes were cut");
});
