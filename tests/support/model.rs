//! A model server that says what the test told it to say, in the words of the API that it is asked by.

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
    /// Thoughts behind the answer.
    Think(&'static str),
    /// The end in the middle of a document.
    Torn,
    /// So many bytes without an end of line.
    Flood(usize),
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
                let held = Arc::clone(&held);
                let words = Words::of(&question.path);
                // A client that leaves early is no failure of the server.
                thread::spawn(move || drop(give(stream, words, answer, &held)));
                if asked.send(question).is_err() {
                    return;
                }
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
        self.composed(key, "openai-completions", more).to_string()
    }

    /// The same over another API.
    pub fn config_with_api(&self, key: &str, api: &str) -> String {
        self.composed(key, api, &json!({})).to_string()
    }

    fn composed(&self, key: &str, api: &str, more: &Value) -> Value {
        let mut config = json!({
            "models": {"providers": {"local": self.provider(key, api)}},
            "agents": {"defaults": {"model": {"primary": "local/tide-1"}}},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        config
    }

    /// Whether nothing more was asked so far.
    pub fn no_more_questions(&self) -> bool {
        self.questions.try_recv().is_err()
    }

    /// This server as an entry of `models.providers`.
    pub fn provider(&self, key: &str, api: &str) -> Value {
        json!({
            "baseUrl": format!("http://{}/v1", self.address),
            "apiKey": key,
            "api": api,
            "models": [{"id": "tide-1", "name": "Tide 1", "input": ["text", "image"]}],
        })
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

fn give(
    mut stream: TcpStream,
    words: Words,
    answer: Answer,
    held: &Mutex<Receiver<()>>,
) -> std::io::Result<()> {
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
                "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n",
                words.content_type()
            )?;
            for step in steps {
                take(&mut stream, words, &step, held)?;
                stream.flush()?;
            }
            Ok(())
        }
    }
}

fn take(
    stream: &mut TcpStream,
    words: Words,
    step: &Step,
    held: &Mutex<Receiver<()>>,
) -> std::io::Result<()> {
    match step {
        Step::Say(text) => words.write(stream, &words.said(text)),
        Step::Think(text) => words.write(stream, &words.thought(text)),
        Step::Raw(text) => stream.write_all(text.as_bytes()),
        Step::Torn => stream.write_all(if words == Words::Ollama { b"{\"mess" } else { b"data: {\"cho" }),
        Step::Flood(bytes) => stream.write_all(&vec![b'x'; *bytes]),
        Step::Hold => {
            // The sender is gone when the test is over; then nobody waits for the rest.
            let _ = held.lock().expect("no holder panics").recv();
            Ok(())
        }
        Step::Done => words.end().iter().try_for_each(|document| words.write(stream, document)),
    }
}

/// The words of an API. The server speaks the one that it is asked by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Chat,
    Responses,
    Messages,
    Ollama,
}

impl Words {
    fn of(path: &str) -> Self {
        match path {
            path if path.ends_with("/responses") => Self::Responses,
            path if path.ends_with("/messages") => Self::Messages,
            path if path.ends_with("/api/chat") => Self::Ollama,
            _ => Self::Chat,
        }
    }

    fn content_type(self) -> &'static str {
        if self == Self::Ollama { "application/x-ndjson" } else { "text/event-stream" }
    }

    fn write(self, stream: &mut TcpStream, document: &Value) -> std::io::Result<()> {
        match (self, document["type"].as_str()) {
            (Self::Ollama, _) => writeln!(stream, "{document}"),
            (Self::Chat, _) if document.is_null() => stream.write_all(b"data: [DONE]\n\n"),
            (_, Some(event)) => write!(stream, "event: {event}\ndata: {document}\n\n"),
            (_, None) => write!(stream, "data: {document}\n\n"),
        }
    }

    fn said(self, text: &str) -> Value {
        match self {
            Self::Chat => chunk(&json!({"content": text}), None),
            Self::Responses => json!({"type": "response.output_text.delta", "delta": text}),
            Self::Messages => json!({
                "type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text},
            }),
            Self::Ollama => {
                json!({"model": "tide-1", "message": {"role": "assistant", "content": text}, "done": false})
            }
        }
    }

    fn thought(self, text: &str) -> Value {
        match self {
            Self::Chat => chunk(&json!({"reasoning_content": text}), None),
            Self::Responses => json!({"type": "response.reasoning_summary_text.delta", "delta": text}),
            Self::Messages => json!({
                "type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": text},
            }),
            Self::Ollama => json!({
                "model": "tide-1", "message": {"role": "assistant", "content": "", "thinking": text}, "done": false,
            }),
        }
    }

    /// The end, with seven tokens of the prompt and three of the answer.
    fn end(self) -> Vec<Value> {
        match self {
            Self::Chat => {
                let mut end = chunk(&json!({}), Some("stop"));
                end["usage"] = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10});
                vec![end, Value::Null]
            }
            Self::Responses => {
                let usage = json!({"input_tokens": 7, "output_tokens": 3, "total_tokens": 10});
                vec![
                    json!({"type": "response.completed", "response": {"status": "completed", "usage": usage}}),
                ]
            }
            Self::Messages => vec![
                json!({
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"input_tokens": 7, "output_tokens": 3},
                }),
                json!({"type": "message_stop"}),
            ],
            Self::Ollama => vec![json!({
                "model": "tide-1", "message": {"role": "assistant", "content": ""},
                "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3,
            })],
        }
    }
}

fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "tide-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    })
}
