//! The server that does no work; see [`telson_benches::server`].

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use clap::Parser;
use telson_benches::server::{Canned, serve};

/// A WebSocket server that answers with canned frames.
#[derive(Parser)]
struct Args {
    /// The loopback port to listen on.
    #[arg(long)]
    port: u16,
    /// A JSON file with the frames `challenge`, `hello`, `answer` and `event`.
    #[arg(long)]
    canned: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let canned: Canned = serde_json::from_slice(&std::fs::read(&args.canned)?)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))?;
    serve(&listener, &canned)?;
    Ok(())
}
