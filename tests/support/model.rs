//! A model server that says what the test told it to say, in OpenAI's words.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::PATIENCE;

/// One answer of the server.
pub enum Answer {
    /// A stream of these steps.
    Stream(Vec<Step>),
    /// A status, further header lines, and a body.
    Refusal(u16, Vec<(&'static str, &'static str)>, Value),
    /// The connection is closed without a word.
    Hangup,
}

/// A step of a streamed answer.
pub enum Step {
    /// A chunk with this text.
    Say(&'static str),
    /// These bytes as they are.
    Raw(&'static str),
    /// Nothing until the test lets it go on, or the client leaves.
    Hold,
    /// The last chunk, with the usage, and the end marker.
    Done,
}

/// What the server was asked.
#[derive(Debug)]
pub struct Question {
    /// The path.
    pub path: String,
    /// The header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

impl Question {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The server. It serves until the process ends.
pub struct ModelServer {
    address: SocketAddr,
    questions: Receiver<Question>,
    go_on: Sender<()>,
}

impl ModelServer {
    /// A server that gives these answers, in this order, and refuses what comes after them.
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (asked, questions) = channel();
        let (go_on, held) = channel();
        let held = Arc::new(Mutex::new(held));
        thread::spawn(move || {
            let mut answers = answers.into_iter();
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(question) = read_question(&stream) else { continue };
                let answer = answers.next().unwrap_or_else(|| {
                    Answer::Refusal(
                        500,
                        vec![],
                        json!({"error": {"message": "the script has no further answer"}}),
                    )
                });
                if asked.send(question).is_err() {
                    return;
                }
                let held = Arc::clone(&held);
                // A client that leaves early is no failure of the server.
                thread::spawn(move || drop(give(stream, answer, &held)));
            }
        });
        Self { address, questions, go_on }
    }

    /// A configuration that uses this server for every agent; the key goes in as given.
    pub fn config(&self, key: &str) -> String {
        self.config_with(key, &json!({}))
    }

    /// The same with further members.
    pub fn config_with(&self, key: &str, more: &Value) -> String {
        let mut config = json!({
            "models": {"providers": {"local": {
                "baseUrl": format!("http://{}/v1", self.address),
                "apiKey": key,
                "api": "openai-completions",
                "models": [{"id": "tide-1", "name": "Tide 1"}],
            }}},
            "agents": {"defaults": {"model": {"primary": "local/tide-1"}}},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        config.to_string()
    }

    /// Whether nothing more was asked so far.
    pub fn no_more_questions(&self) -> bool {
        self.questions.try_recv().is_err()
    }

    /// Waits for the next question.
    pub fn question(&self) -> Question {
        self.questions.recv_timeout(PATIENCE).expect("the gateway asks the model server")
    }

    /// Lets the answer that holds go on.
    pub fn go_on(&self) {
        self.go_on.send(()).expect("the server runs");
    }
}

fn read_question(stream: &TcpStream) -> Option<Question> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut question = Question { path, headers, body: Value::Null };
    let mut body = Vec::new();
    if let Some(length) = question.header("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else {
        read_chunks(&mut reader, &mut body)?;
    }
    question.body = serde_json::from_slice(&body).ok()?;
    Some(question)
}

fn read_chunks(reader: &mut BufReader<&TcpStream>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(());
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

fn give(mut stream: TcpStream, answer: Answer, held: &Mutex<Receiver<()>>) -> std::io::Result<()> {
    match answer {
        Answer::Hangup => Ok(()),
        Answer::Refusal(status, headers, body) => {
            let body = body.to_string();
            write!(stream, "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n")?;
            for (name, value) in headers {
                write!(stream, "{name}: {value}\r\n")?;
            }
            write!(stream, "content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        }
        Answer::Stream(steps) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            )?;
            for step in steps {
                take(&mut stream, &step, held)?;
                stream.flush()?;
            }
            Ok(())
        }
    }
}

fn take(stream: &mut TcpStream, step: &Step, held: &Mutex<Receiver<()>>) -> std::io::Result<()> {
    match step {
        Step::Say(text) => chunk(stream, &json!([{"index": 0, "delta": {"content": text}}]), None),
        Step::Raw(text) => stream.write_all(text.as_bytes()),
        Step::Hold => {
            // The sender is gone when the test is over; then nobody waits for the rest.
            let _ = held.lock().expect("no holder panics").recv();
            Ok(())
        }
        Step::Done => {
            let usage = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10});
            chunk(stream, &json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), Some(usage))?;
            stream.write_all(b"data: [DONE]\n\n")
        }
    }
}

fn chunk(stream: &mut TcpStream, choices: &Value, usage: Option<Value>) -> std::io::Result<()> {
    let mut body = json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "tide-1", "choices": choices,
    });
    if let Some(usage) = usage {
        body["usage"] = usage;
    }
    write!(stream, "data: {body}\n\n")
}
