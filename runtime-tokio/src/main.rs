//! The gateway on tokio.

use std::process::ExitCode;

use telson_tokio::Tokio;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("telson-io")
        .thread_stack_size(1024 * 1024)
        .max_blocking_threads(64)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let adapter = Tokio::new(runtime.handle().clone());
            let code = runtime.block_on(telson_host::cli::run(adapter, "telson"));
            // Work off the I/O threads, such as a name that is never resolved, must not hold the exit up.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("telson: the runtime cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
