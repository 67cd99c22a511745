//! Connecting by name: resolution off the I/O threads, then every address in turn.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use telson_core::guard::{Forbidden, is_public};

use crate::runtime::Runtime;

/// How long one address may take before the next is tried.
const PER_ADDRESS: Duration = Duration::from_secs(10);

/// Connects to a host, given as a name or an address without brackets.
pub(crate) async fn dial<R: Runtime>(runtime: &R, host: &str, port: u16) -> io::Result<R::Stream> {
    let addrs = resolve(runtime, host, port).await?;
    connect(runtime, addrs).await
}

/// The same, but only when every address of the host is public; `Ok(Err(..))` otherwise. The connection goes to
/// an address that was judged: the name is not resolved again.
pub(crate) async fn dial_public<R: Runtime>(
    runtime: &R,
    host: &str,
    port: u16,
) -> io::Result<Result<R::Stream, Forbidden>> {
    let addrs = resolve(runtime, host, port).await?;
    match judge(host, &addrs) {
        Ok(()) => connect(runtime, addrs).await.map(Ok),
        Err(forbidden) => Ok(Err(forbidden)),
    }
}

/// One address that is not public condemns the name.
fn judge(host: &str, addrs: &[SocketAddr]) -> Result<(), Forbidden> {
    if addrs.iter().all(|addr| is_public(addr.ip())) { Ok(()) } else { Err(Forbidden::host(host)) }
}

async fn connect<R: Runtime>(runtime: &R, addrs: Vec<SocketAddr>) -> io::Result<R::Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in addrs {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_private_address_condemns_a_name() {
        let addrs: Vec<SocketAddr> = ["8.8.8.8:80", "[2606:4700::1111]:80", "[::ffff:10.0.0.1]:80"]
            .map(|addr| addr.parse().unwrap())
            .into();
        assert_eq!(judge("host.example", addrs.get(..2).unwrap()), Ok(()));
        let error = judge("host.example", &addrs).unwrap_err().to_string();
        assert!(error.contains("host.example") && !error.contains("10.0.0.1"), "{error}");
    }
}
