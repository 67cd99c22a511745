//! Measures how a client fares while others flood a gateway.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use comfy_table::{Table, presets};
use telson_benches::flood::{Flood, Kind, Seen, percentile, watch};
use telson_benches::measure;
use telson_benches::target::Target;

/// Measures how a client fares while others flood a gateway.
#[derive(Parser)]
struct Args {
    /// The directory with the binaries.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// The gateways to flood, by file name.
    #[arg(long, value_delimiter = ',', default_value = "telson,telson-lite")]
    targets: Vec<String>,
    /// Connections of a flood.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// The time of each measurement in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "who",
        "flood",
        "opened",
        "connect p50",
        "p99",
        "call p50",
        "p99",
        "failed",
        "RSS peak",
        "RSS after",
    ]);
    let time = Duration::from_secs(args.seconds);
    for name in &args.targets {
        let target = Target { name: name.clone(), program: args.bin.join(name), canned: None };
        let quiet = {
            let server = measure::start(&target)?;
            let seen = watch(&server, time)?;
            table.add_row(row(name, "none", 0, &seen, &seen, server.resident_kib()?));
            seen
        };
        for kind in Kind::ALL {
            let server = measure::start(&target)?;
            let flood = Flood::start(server.addr, kind, args.connections);
            // The crowd gathers.
            std::thread::sleep(Duration::from_secs(2));
            let seen = watch(&server, time)?;
            let opened = flood.opened();
            drop(flood);
            std::thread::sleep(Duration::from_secs(2));
            let row = row(name, kind.name(), opened, &seen, &quiet, server.resident_kib()?);
            eprintln!("{}", row.join(" | "));
            table.add_row(row);
        }
    }
    println!("{table}");
    Ok(())
}

/// Times in milliseconds, with the ratio to the quiet ones.
fn row(name: &str, flood: &str, opened: usize, seen: &Seen, quiet: &Seen, after: u64) -> Vec<String> {
    let figure = |of: fn(&Seen) -> &Vec<f64>, percent: usize| {
        let (now, before) =
            (percentile(&mut of(seen).clone(), percent), percentile(&mut of(quiet).clone(), percent));
        format!("{:.2} ({:.1})", now / 1e3, if before > 0.0 { now / before } else { 0.0 })
    };
    let mib = |kib: u64| format!("{:.1}", kib as f64 / 1_024.0);
    vec![
        name.to_owned(),
        flood.to_owned(),
        opened.to_string(),
        figure(|seen| &seen.connects, 50),
        figure(|seen| &seen.connects, 99),
        figure(|seen| &seen.calls, 50),
        figure(|seen| &seen.calls, 99),
        format!("{} of {}", seen.failed, seen.failed + seen.connects.len()),
        mib(seen.peak_kib),
        mib(after),
    ]
}
