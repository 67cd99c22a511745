//! Programs that run to their end.

use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::Value;

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.stdin(Stdio::null()).output().expect("the program starts"))
    }

    /// Runs a command to its end with this standard input.
    pub fn fed(command: &mut Command, input: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("the input is a pipe");
        let input = input.to_owned();
        let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
        let outcome = Self::from(child.wait_with_output().expect("the program ends"));
        // A program that ends without reading all of its input closes the pipe; that is its right.
        let _ = writer.join();
        outcome
    }

    /// This outcome, if the program succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "the program failed: {self:#?}");
        self
    }

    /// This outcome, if the program ended with the code.
    #[track_caller]
    pub fn failure(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "another exit code was expected: {self:#?}");
        self
    }

    /// The standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Everything that a child's pipe still has to say.
pub fn rest_of(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        let _ = pipe.read_to_string(&mut text);
    }
    text
}
