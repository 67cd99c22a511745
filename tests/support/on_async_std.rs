//! The gateway on the smol adapter, its tasks run by async-std's executor: what users of async-std move to.

use std::process::ExitCode;

use telson_smol::Smol;

fn main() -> ExitCode {
    let adapter = Smol::with_spawner(|task| drop(async_std::task::spawn(task)));
    async_std::task::block_on(telson_host::cli::run(adapter, "telson-async-std"))
}
