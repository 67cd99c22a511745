//! The load generator: measures gateway binaries beside a server that does no work.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use telson_benches::measure::{self, Paced, Reading, median};
use telson_benches::report::{Figure, Report, Result};
use telson_benches::target::{Running, Target};

const RAW: &str = "raw-epoll";
const SUBSCRIBERS: usize = 200;
const IDLE: usize = 1_000;

/// Measures gateway binaries beside a server that does no work.
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
    /// The time of each measurement in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Starts of each program for the start-up time.
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let args = Args::parse();
    raise_file_limit()?;
    let scratch = tempfile::tempdir()?;
    let mut targets: Vec<Target> = args
        .targets
        .iter()
        .map(|name| Target { name: name.clone(), program: args.bin.join(name), canned: None })
        .collect();
    let first = targets.first().ok_or("name at least one gateway with --targets")?;
    let canned = scratch.path().join("canned.json");
    std::fs::write(&canned, serde_json::to_vec(&measure::record(first)?)?)?;
    targets.push(Target { name: RAW.to_owned(), program: args.bin.join(RAW), canned: Some(canned) });

    let mut report = Report {
        processors: std::thread::available_parallelism()?.get(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        rounds: args.rounds,
        seconds: args.seconds,
        figures: Vec::new(),
    };
    fresh_figures(&mut report, &args, &targets)?;
    live_figures(&mut report, &args, &targets)?;
    report.relate(RAW);
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => println!("{}", report.table()),
    }
    Ok(())
}

/// What needs a program that was just started.
fn fresh_figures(report: &mut Report, args: &Args, targets: &[Target]) -> io::Result<()> {
    let mut starts = Table::new(targets);
    for _ in 0..args.starts {
        for (n, target) in targets.iter().enumerate() {
            let (listening, hello) = measure::start_up(target)?;
            starts.note(n, [listening, hello]);
        }
    }
    let mut memory = Table::new(targets);
    for _ in 0..args.rounds {
        for (n, target) in targets.iter().enumerate() {
            let (rest, conn) = measure::memory(target, IDLE)?;
            memory.note(n, [rest / 1_024.0, conn]);
        }
    }
    let mut sizes = Table::new(targets);
    for (n, target) in targets.iter().enumerate() {
        sizes.note(n, [target.size()? as f64 / 1e6]);
    }
    report.figures.push(starts.figure(0, "start-up to listening", "ms"));
    report.figures.push(starts.figure(1, "start-up to first hello", "ms"));
    report.figures.push(memory.figure(0, "resident at rest", "MiB"));
    report.figures.push(memory.figure(1, "memory per idle connection", "bytes"));
    report.figures.push(sizes.figure(0, "binary", "MB"));
    Ok(())
}

/// What is measured on programs that keep running, in turn.
fn live_figures(report: &mut Report, args: &Args, targets: &[Target]) -> io::Result<()> {
    let time = Duration::from_secs_f64(args.seconds);
    let servers = targets.iter().map(measure::start).collect::<io::Result<Vec<_>>>()?;
    let mut live = Live { report, args, targets, servers: &servers };
    live.rate("handshakes, 8 at once", |server| measure::handshakes(server, 8, time))?;
    live.paced("requests, pipelined (4 x 32)", false, |server| measure::requests(server, 4, 32, time))?;
    live.paced("requests, ping-pong (1)", true, |server| measure::requests(server, 1, 1, time))?;
    live.paced("deliveries, 200 subscribers", false, |server| {
        measure::deliveries(server, SUBSCRIBERS, None, time)
    })?;
    live.paced("deliveries at 50 events/s", true, |server| {
        measure::deliveries(server, SUBSCRIBERS, Some(50), time)
    })
}

struct Live<'a> {
    report: &'a mut Report,
    args: &'a Args,
    targets: &'a [Target],
    servers: &'a [Running],
}

impl Live<'_> {
    fn rate(
        &mut self,
        name: &'static str,
        measure: impl Fn(&Running) -> io::Result<Reading>,
    ) -> io::Result<()> {
        let zero = |rate| Paced { rate, median: 0.0, p99: 0.0 };
        self.paced(name, false, |server| measure(server).map(zero))
    }

    /// A rate, and with `delays` the median and the 99th percentile of the delays.
    fn paced(
        &mut self,
        name: &'static str,
        delays: bool,
        measure: impl Fn(&Running) -> io::Result<Paced>,
    ) -> io::Result<()> {
        let mut table = Table::new(self.targets);
        for _ in 0..self.args.rounds {
            for (n, server) in self.servers.iter().enumerate() {
                let Paced { rate, median, p99 } = measure(server)?;
                table.note(n, [rate.value, median, p99]);
                table.busy[n] = Some((rate.client, rate.server));
            }
        }
        self.report.figures.push(table.figure(0, name, "1/s"));
        if delays {
            self.report.figures.push(table.figure(1, "- median delay", "us"));
            self.report.figures.push(table.figure(2, "- 99th percentile", "us"));
        }
        Ok(())
    }
}

/// Measurements of several figures of every program.
struct Table<'a> {
    targets: &'a [Target],
    /// By program, then by figure.
    values: Vec<Vec<Vec<f64>>>,
    busy: Vec<Option<(f64, f64)>>,
}

impl<'a> Table<'a> {
    fn new(targets: &'a [Target]) -> Self {
        Self { targets, values: vec![Vec::new(); targets.len()], busy: vec![None; targets.len()] }
    }

    fn note<const N: usize>(&mut self, target: usize, values: [f64; N]) {
        let rows = &mut self.values[target];
        rows.resize(N.max(rows.len()), Vec::new());
        rows.iter_mut().zip(values).for_each(|(row, value)| row.push(value));
    }

    fn figure(&mut self, figure: usize, name: &'static str, unit: &'static str) -> Figure {
        let mut results = Vec::new();
        for (n, target) in self.targets.iter().enumerate() {
            let value = self.values[n].get_mut(figure).map_or(0.0, |values| median(values));
            let (client_busy, server_busy) = self.busy[n].unzip();
            results.push(Result {
                target: target.name.clone(),
                value,
                ratio: None,
                client_busy,
                server_busy,
            });
        }
        Figure { name, unit, results }
    }
}

/// A thousand idle connections need a thousand file descriptors on either side; the programs inherit the limit.
fn raise_file_limit() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
