//! The gateway on smol, for routers and small boards.

use std::process::ExitCode;

use telson_smol::Smol;

fn main() -> ExitCode {
    match Smol::start(1) {
        Ok(adapter) => smol::block_on(telson_host::cli::run(adapter, "telson-lite")),
        Err(error) => {
            eprintln!("telson-lite: the executor cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
