//! What is measured, each through the socket of a running program.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::mux::{Got, Mux};
use crate::server::Canned;
use crate::target::{Running, TOKEN, Target, own_cpu};

pub(crate) const HEALTH: &str = r#"{"type":"req","id":"h","method":"health"}"#;
const TALK: &str = r#"{"type":"req","id":"t","method":"talk.mode","params":{"enabled":true}}"#;
const ANSWER: &[u8] = br#"{"type":"res""#;
const EVENT: &[u8] = br#"{"type":"event","event":"talk.mode""#;

/// How long one connection may take until its hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The figure.
    pub value: f64,
    /// The share of the time in which the client used a processor.
    pub client: f64,
    /// The share of the time in which the program used processors; may exceed 1.
    pub server: f64,
}

/// Rate and delays of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Paced {
    /// Per second.
    pub rate: Reading,
    /// The median delay in microseconds.
    pub median: f64,
    /// The 99th percentile of the delays in microseconds.
    pub p99: f64,
}

fn connect_frame() -> String {
    format!(
        r#"{{"type":"req","id":"c","method":"connect","params":{{"minProtocol":4,"maxProtocol":4,"client":{{"id":"cli","version":"0","platform":"linux","mode":"cli"}},"role":"operator","scopes":["operator.admin"],"auth":{{"token":"{TOKEN}"}}}}}}"#
    )
}

/// Runs `work` and tells how busy both sides were meanwhile.
fn watched(server: &Running, work: impl FnOnce() -> io::Result<f64>) -> io::Result<Reading> {
    let (client_before, server_before, start) = (own_cpu()?, server.cpu()?, Instant::now());
    let value = work()?;
    let wall = start.elapsed().as_secs_f64();
    let client = (own_cpu()? - client_before).as_secs_f64() / wall;
    Ok(Reading { value, client, server: (server.cpu()? - server_before).as_secs_f64() / wall })
}

fn closed(reason: &str) -> io::Error {
    io::Error::other(format!("the connection was closed: {reason}"))
}

/// A client that is in.
pub(crate) fn enter(mux: &mut Mux, server: &Running) -> io::Result<usize> {
    let slot = mux.open(server.addr)?;
    expect(mux, slot, b"")?;
    mux.send(slot, &connect_frame())?;
    let hello = expect(mux, slot, ANSWER)?;
    if hello.contains("\"ok\":true") { Ok(slot) } else { Err(io::Error::other(format!("refused: {hello}"))) }
}

/// The next message of a client that begins like this; others are passed over.
pub(crate) fn expect(mux: &mut Mux, slot: usize, begin: &[u8]) -> io::Result<String> {
    let end = Instant::now() + PATIENCE;
    let mut found = None;
    let mut gone = None;
    while found.is_none() {
        if Instant::now() > end {
            return Err(io::Error::other(format!("no {} within 10 s", String::from_utf8_lossy(begin))));
        }
        mux.poll(Duration::from_millis(100), |from, got| match got {
            Got::Text(text) if from == slot && found.is_none() && text.starts_with(begin) => {
                found = Some(String::from_utf8_lossy(text).into_owned());
            }
            Got::Closed(reason) if from == slot => gone = Some(closed(reason)),
            _ => {}
        })?;
        if let Some(error) = gone.take().filter(|_| found.is_none()) {
            return Err(error);
        }
    }
    found.ok_or_else(|| io::Error::other("no message"))
}

/// Starts a program and waits until it lets its first client in.
///
/// # Errors
///
/// When it does not within ten seconds.
pub fn start(target: &Target) -> io::Result<Running> {
    let server = target.start()?;
    let mut mux = Mux::new()?;
    // A gateway that still loads asks its first clients to come back.
    loop {
        match enter(&mut mux, &server) {
            Ok(_) => return Ok(server),
            Err(error) if server.spawned.elapsed() > PATIENCE => {
                return Err(io::Error::other(format!("{}: no hello within 10 s: {error}", target.name)));
            }
            Err(_) => {}
        }
    }
}

/// Records the frames of a gateway, for the server that does no work.
///
/// # Errors
///
/// When the gateway does not answer as it should.
pub fn record(target: &Target) -> io::Result<Canned> {
    let server = start(target)?;
    let mut mux = Mux::new()?;
    let slot = mux.open(server.addr)?;
    let challenge = expect(&mut mux, slot, b"")?;
    mux.send(slot, &connect_frame())?;
    let hello = expect(&mut mux, slot, ANSWER)?;
    mux.send(slot, HEALTH)?;
    let answer = expect(&mut mux, slot, ANSWER)?;
    mux.send(slot, TALK)?;
    let event = expect(&mut mux, slot, EVENT)?;
    Ok(Canned { challenge, hello, answer, event })
}

/// Start-up in milliseconds: from spawn to the first accepted connection, and to the first hello.
///
/// # Errors
///
/// When the program does not start.
pub fn start_up(target: &Target) -> io::Result<(f64, f64)> {
    let server = start(target)?;
    let hello = server.spawned.elapsed();
    Ok((server.listening.as_secs_f64() * 1e3, hello.as_secs_f64() * 1e3))
}

/// Handshakes per second: connect, upgrade, challenge, connect request, hello, reset; `at_once` in parallel.
///
/// # Errors
///
/// When a connection is refused.
pub fn handshakes(server: &Running, at_once: usize, time: Duration) -> io::Result<Reading> {
    let frame = connect_frame();
    watched(server, || {
        let mut mux = Mux::new()?;
        let mut said = vec![false; at_once + 1];
        let (start, mut done) = (Instant::now(), 0_u64);
        let mut ready: Vec<(usize, bool)> = Vec::new();
        let mut failed = None;
        while start.elapsed() < time {
            while mux.open_count() < at_once {
                let slot = mux.open(server.addr)?;
                said[slot] = false;
            }
            mux.poll(Duration::from_millis(100), |slot, got| match got {
                Got::Text(text) if text.starts_with(ANSWER) => ready.push((slot, true)),
                Got::Text(_) => ready.push((slot, false)),
                Got::Closed(reason) => failed = Some(closed(reason)),
            })?;
            if let Some(error) = failed.take() {
                return Err(error);
            }
            for (slot, answered) in ready.drain(..) {
                if answered {
                    mux.close(slot);
                    done += 1;
                } else if !std::mem::replace(&mut said[slot], true) {
                    mux.send(slot, &frame)?;
                }
            }
        }
        Ok(per_second(done, start))
    })
}

/// `health` requests per second on `conns` connections, each with `window` requests on their way.
///
/// # Errors
///
/// When a connection breaks.
pub fn requests(server: &Running, conns: usize, window: usize, time: Duration) -> io::Result<Paced> {
    let mut mux = Mux::new()?;
    let slots = (0..conns).map(|_| enter(&mut mux, server)).collect::<io::Result<Vec<_>>>()?;
    let mut sent: Vec<VecDeque<Instant>> = vec![VecDeque::new(); conns];
    let mut delays = Vec::new();
    let rate = watched(server, || {
        let start = Instant::now();
        let mut done = 0_u64;
        let mut failed = None;
        while start.elapsed() < time {
            for &slot in &slots {
                // A window is refilled when it is half empty, so that frames travel together.
                if sent[slot].len() <= window / 2 {
                    while sent[slot].len() < window {
                        mux.queue(slot, HEALTH);
                        sent[slot].push_back(Instant::now());
                    }
                    mux.flush(slot)?;
                }
            }
            mux.poll(Duration::from_millis(100), |slot, got| match got {
                Got::Text(text) if text.starts_with(ANSWER) => {
                    done += 1;
                    if let Some(at) = sent[slot].pop_front() {
                        delays.push(at.elapsed());
                    }
                }
                Got::Text(_) => {}
                Got::Closed(reason) => failed = Some(closed(reason)),
            })?;
            if let Some(error) = failed.take() {
                return Err(error);
            }
        }
        Ok(per_second(done, start))
    })?;
    Ok(Paced { rate, median: percentile(&mut delays, 50), p99: percentile(&mut delays, 99) })
}

/// Deliveries per second to `subscribers`, caused by `talk.mode` requests of one more connection.
///
/// With a `pace`, so many events are caused per second and the delay from the request to each delivery counts;
/// without, up to 16 events are on their way and the rate counts.
///
/// # Errors
///
/// When a connection breaks, or a delivery is lost.
pub fn deliveries(
    server: &Running,
    subscribers: usize,
    pace: Option<u32>,
    time: Duration,
) -> io::Result<Paced> {
    const AHEAD: u64 = 16;
    let mut mux = Mux::new()?;
    let publisher = enter(&mut mux, server)?;
    let slots = (0..subscribers).map(|_| enter(&mut mux, server)).collect::<io::Result<Vec<_>>>()?;
    let mut heard = vec![0_usize; subscribers + 1];
    let mut sent: Vec<Instant> = Vec::new();
    let mut delays: Vec<Duration> = Vec::new();
    let rate = watched(server, || {
        let (start, mut total) = (Instant::now(), 0_u64);
        let mut failed = None;
        loop {
            let elapsed = start.elapsed();
            let published = sent.len() as u64;
            let complete = total == published * subscribers as u64;
            if elapsed > time && complete {
                break;
            }
            if elapsed > time + PATIENCE {
                return Err(io::Error::other(format!("{published} events, but {total} deliveries")));
            }
            let slowest = slots.iter().map(|slot| heard[*slot] as u64).min().unwrap_or(0);
            let due = match pace {
                Some(pace) => published < (elapsed.as_secs_f64() * f64::from(pace)) as u64,
                None => published < slowest + AHEAD,
            };
            if due && elapsed < time {
                sent.push(Instant::now());
                mux.send(publisher, TALK)?;
                continue;
            }
            let patience =
                if pace.is_some() { Duration::from_micros(500) } else { Duration::from_millis(100) };
            mux.poll(patience, |slot, got| match got {
                Got::Text(text) if text.starts_with(EVENT) && slot != publisher => {
                    if let Some(at) = sent.get(heard[slot]) {
                        delays.push(at.elapsed());
                    }
                    heard[slot] += 1;
                    total += 1;
                }
                Got::Text(_) => {}
                Got::Closed(reason) => failed = Some(closed(reason)),
            })?;
            if let Some(error) = failed.take() {
                return Err(error);
            }
        }
        Ok(per_second(total, start))
    })?;
    Ok(Paced { rate, median: percentile(&mut delays, 50), p99: percentile(&mut delays, 99) })
}

/// Resident memory in KiB a second after the first hello, and in bytes per connection with `conns` idle ones.
///
/// # Errors
///
/// When a connection is refused.
pub fn memory(target: &Target, conns: usize) -> io::Result<(f64, f64)> {
    let server = start(target)?;
    let mut mux = Mux::new()?;
    std::thread::sleep(Duration::from_secs(1));
    let rest = server.resident_kib()?;
    for _ in 0..conns {
        enter(&mut mux, &server)?;
    }
    std::thread::sleep(Duration::from_secs(1));
    let grown = server.resident_kib()?.saturating_sub(rest);
    Ok((rest as f64, (grown * 1_024) as f64 / conns as f64))
}

fn per_second(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

/// A percentile of delays in microseconds.
fn percentile(delays: &mut [Duration], percent: usize) -> f64 {
    if delays.is_empty() {
        return 0.0;
    }
    let at = (delays.len() * percent / 100).min(delays.len() - 1);
    let (_, delay, _) = delays.select_nth_unstable(at);
    delay.as_secs_f64() * 1e6
}

/// The middle of several figures.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_delays() {
        let mut delays: Vec<Duration> = (1..=100).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut delays, 50).round(), 51.0);
        assert_eq!(percentile(&mut delays, 99).round(), 100.0);
        assert_eq!(percentile(&mut [], 99), 0.0);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
    }
}
