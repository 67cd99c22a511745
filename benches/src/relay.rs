//! Tokens from a model server through a gateway to its clients.
//!
//! The model server of this module is a thread that writes a stream of tokens as fast as it is read. A direct
//! reader of the same stream gives the measure: what the machine does when nobody stands between.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::enter;
use crate::mux::{Got, Mux};
use crate::target::{Running, Target};

/// How long one stream may take.
const PATIENCE: Duration = Duration::from_secs(120);
const FINAL: &str = r#""state":"final""#;

/// A model server that answers every question with the same number of tokens.
pub struct TokenServer {
    addr: SocketAddr,
    tokens: usize,
}

/// What a stream came to.
#[derive(Clone, Copy, Debug)]
pub struct Relayed {
    /// Tokens per second from the question to the end of the answer at every client.
    pub rate: f64,
    /// The program's processor time for each token, in microseconds.
    pub cpu_us: f64,
}

impl TokenServer {
    /// Starts the server; it serves until the process ends.
    ///
    /// # Errors
    ///
    /// When no port is to be had.
    pub fn start(tokens: usize) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || answer(stream, tokens));
            }
        });
        Ok(Self { addr, tokens })
    }

    /// The configuration of a gateway that uses this server.
    pub fn config(&self) -> String {
        format!(
            r#"{{"models":{{"providers":{{"bench":{{"baseUrl":"http://{}/v1","api":"openai-completions","models":[{{"id":"m","name":"M","contextWindow":1000000}}]}}}}}},"agents":{{"defaults":{{"model":{{"primary":"bench/m"}}}}}}}}"#,
            self.addr
        )
    }

    /// Reads one answer without a gateway.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub fn direct(&self) -> io::Result<f64> {
        let start = Instant::now();
        let mut stream = TcpStream::connect(self.addr)?;
        stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")?;
        let mut seen = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                read => seen += read,
            }
        }
        if seen == 0 {
            return Err(io::Error::other("the token server said nothing"));
        }
        Ok(self.tokens as f64 / start.elapsed().as_secs_f64())
    }
}

fn answer(mut stream: TcpStream, tokens: usize) {
    let mut length = 0;
    {
        let mut reader = BufReader::new(&stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        let _ = reader.read_exact(&mut body);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let token = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" tide\"}}]}\n\n";
    let last =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let mut write = || -> io::Result<()> {
        stream.write_all(head.as_bytes())?;
        for _ in 0..tokens {
            // One write each, as model servers do.
            stream.write_all(token.as_bytes())?;
        }
        stream.write_all(last.as_bytes())
    };
    // A reader that has gone is its own affair.
    let _ = write();
}

/// Starts a gateway that uses the server.
///
/// # Errors
///
/// When it does not come up.
pub fn start(target: &Target, server: &TokenServer) -> io::Result<Running> {
    let running = target.start_with(&server.config())?;
    let mut mux = Mux::new()?;
    while enter(&mut mux, &running).is_err() {
        if running.spawned.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{}: no hello", target.name)));
        }
    }
    Ok(running)
}

/// Lets one client ask and `subscribers` hear the answer.
///
/// # Errors
///
/// When a connection breaks or the answer does not come.
pub fn relay(running: &Running, server: &TokenServer, subscribers: usize, name: &str) -> io::Result<Relayed> {
    let mut mux = Mux::new()?;
    let slots = (0..subscribers).map(|_| enter(&mut mux, running)).collect::<io::Result<Vec<_>>>()?;
    let before = running.cpu()?;
    let start = Instant::now();
    let key = format!("agent:main:{name}");
    let send = format!(
        r#"{{"type":"req","id":"s","method":"chat.send","params":{{"sessionKey":"{key}","message":"go","idempotencyKey":"{name}"}}}}"#
    );
    mux.send(slots[0], &send)?;
    let mut ended = vec![false; slots.len()];
    let mut failed = None;
    while ended.iter().any(|ended| !ended) {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other("the answer did not come to everyone"));
        }
        mux.poll(Duration::from_millis(100), |from, got| match got {
            Got::Text(text) => {
                let tail = String::from_utf8_lossy(&text[..text.len().min(400)]);
                if tail.contains(FINAL) {
                    ended[from] = true;
                }
            }
            Got::Closed(reason) => failed = Some(format!("connection {from} was closed: {reason}")),
        })?;
        if let Some(reason) = failed.take() {
            return Err(io::Error::other(reason));
        }
    }
    let rate = server.tokens as f64 / start.elapsed().as_secs_f64();
    let cpu = running.cpu()?.saturating_sub(before);
    Ok(Relayed { rate, cpu_us: cpu.as_secs_f64() * 1e6 / server.tokens as f64 })
}
