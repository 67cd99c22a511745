//! Connecting by name: resolution off the I/O threads, then every address in turn.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use crate::runtime::Runtime;

/// How long one address may take before the next is tried.
const PER_ADDRESS: Duration = Duration::from_secs(10);

/// Connects to a host, given as a name or an address without brackets.
pub(crate) async fn dial<R: Runtime>(runtime: &R, host: &str, port: u16) -> io::Result<R::Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in resolve(runtime, host, port).await? {
        match attempt(runtime, addr).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn resolve<R: Runtime>(runtime: &R, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(addr) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(addr, port)]);
    }
    let host = host.to_owned();
    runtime.unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())).await?
}

async fn attempt<R: Runtime>(runtime: &R, addr: SocketAddr) -> io::Result<R::Stream> {
    let late = runtime.sleep_until(Instant::now() + PER_ADDRESS);
    match select(std::pin::pin!(runtime.connect(addr)), std::pin::pin!(late)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
