//! Measures tokens from a model server through gateways to their clients, beside a direct reader.

use std::io;
use std::path::PathBuf;

use clap::Parser;
use comfy_table::{Table, presets};
use telson_benches::measure::median;
use telson_benches::relay::{self, TokenServer};
use telson_benches::target::Target;

/// Measures tokens from a model server through gateways to their clients.
#[derive(Parser)]
struct Args {
    /// The directory with the binaries.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// The gateways to measure, by file name.
    #[arg(long, value_delimiter = ',', default_value = "telson,telson-lite")]
    targets: Vec<String>,
    /// Measurements of each figure; the middle one is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tokens of one answer.
    #[arg(long, default_value_t = 20_000)]
    tokens: usize,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let server = TokenServer::start(args.tokens)?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["who", "subscribers", "tokens/s", "to direct", "cpu per token"]);
    let mut direct = (0..args.rounds).map(|_| server.direct()).collect::<io::Result<Vec<_>>>()?;
    let direct = median(&mut direct);
    table.add_row([
        "direct".to_owned(),
        "1".to_owned(),
        format!("{direct:.0}"),
        "1.00".to_owned(),
        String::new(),
    ]);
    for name in &args.targets {
        let target = Target { name: name.clone(), program: args.bin.join(name), canned: None };
        let running = relay::start(&target, &server)?;
        for subscribers in [1, 100] {
            let mut rates = Vec::new();
            let mut costs = Vec::new();
            for round in 0..args.rounds {
                let run = format!("{subscribers}-{round}");
                let seen = relay::relay(&running, &server, subscribers, &run)?;
                rates.push(seen.rate);
                costs.push(seen.cpu_us);
            }
            let rate = median(&mut rates);
            table.add_row([
                name.clone(),
                subscribers.to_string(),
                format!("{rate:.0}"),
                format!("{:.2}", rate / direct),
                format!("{:.1} us", median(&mut costs)),
            ]);
        }
    }
    println!("{table}");
    Ok(())
}
