//! What an approval is about, and with it what its answer allows (08 S-55).
//!
//! An answer is bound to the program and its arguments, or to the line; to where it runs, with which
//! variables, on which node, in which session and for which agent. Whatever differs was not approved.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use telson_proto::approval::{Decision, ExecRequest, FileOperand};
use telson_proto::{ErrorShape, Protocol};

use super::display::{line, shown};
use super::policy::shell::analyse;
use super::record::V3_MEMBERS;
use crate::entropy::hex;
use crate::limits;

/// What is to run, and around it all that matters. See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    pub(super) what: What,
    pub(super) cwd: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) node: Node,
    pub(super) agent: Option<String>,
    pub(super) session: Option<String>,
    /// A file whose content the asker saw.
    pub(super) file: Option<FileOperand>,
}

/// What is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A line for a shell.
    Line(String),
}

/// Where it is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Node {
    /// On this one.
    One(String),
    /// Protocol 3 cannot say it: on the one that is asked first.
    Unsaid,
    /// On no node.
    None,
}

/// A request that has been understood.
pub(super) struct Asked {
    pub(super) question: Question,
    /// The request in the form that shows every character.
    pub(super) request: Map<String, Value>,
    pub(super) text: String,
    pub(super) allowed: Vec<Decision>,
}

impl Question {
    /// Hex SHA-256 over all of it.
    pub(super) fn digest(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        hex(Sha256::digest(text.as_bytes()).as_slice())
    }

    /// The line that is shown.
    fn text(&self) -> String {
        match &self.what {
            What::Argv(argv) => shown(&line(argv)),
            What::Line(text) => shown(text),
        }
    }

    /// Whether running these words is what was asked. A line that was approved is run by giving it to a shell,
    /// or, when it says nothing that only a shell could do, by its words.
    pub(super) fn allows(&self, argv: &[String], raw: Option<&str>) -> bool {
        let inner = shell_line(argv);
        if raw.is_some_and(|raw| {
            Some(raw) != inner && raw != line(argv) && self.what != What::Line(raw.to_owned())
        }) {
            return false;
        }
        match &self.what {
            What::Argv(approved) => approved == argv,
            What::Line(text) => inner == Some(text.as_str()) || has_words(text, argv),
        }
    }
}

/// The line that a shell is given, when this is a call of one.
fn shell_line(argv: &[String]) -> Option<&str> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["/bin/sh" | "/bin/bash" | "/bin/zsh" | "sh" | "bash" | "zsh", "-c" | "-lc", text] => Some(text),
        ["cmd.exe", "/d", "/s", "/c", text] => Some(text),
        _ => None,
    }
}

/// Whether a line is one program whose words are these, without anything left for a shell to do.
fn has_words(text: &str, argv: &[String]) -> bool {
    match analyse(text).as_deref() {
        Ok([segment]) => {
            segment.argv.len() == argv.len()
                && segment.argv.iter().zip(argv).all(|(word, arg)| !word.expands && word.text == *arg)
        }
        _ => false,
    }
}

/// Reads a request (spec 03 §3.2, §3.8).
///
/// # Errors
///
/// The reference's sentences for what is missing, and the limits.
pub(super) fn ask(params: &ExecRequest, protocol: Protocol) -> Result<Asked, ErrorShape> {
    let v4 = protocol == Protocol::V4;
    let plan = params.system_run_plan.as_ref();
    let argv = plan.map(|plan| &plan.argv).or(params.command_argv.as_ref()).filter(|argv| !argv.is_empty());
    let what = match (argv, &params.command) {
        (Some(argv), _) => What::Argv(argv.clone()),
        (None, Some(command)) if !command.as_str().trim().is_empty() => What::Line(command.to_string()),
        (None, _) => return Err(ErrorShape::invalid("command is required")),
    };
    let on_node = params.host.as_deref() == Some("node");
    let node_id = given(params.node_id.as_ref());
    if v4 && on_node && node_id.is_none() {
        return Err(ErrorShape::invalid("nodeId is required for host=node"));
    }
    if v4 && on_node && plan.is_none_or(|plan| plan.argv.is_empty()) {
        return Err(ErrorShape::invalid("systemRunPlan is required for host=node"));
    }
    let node = match node_id {
        Some(id) => Node::One(id),
        None if v4 => Node::None,
        None => Node::Unsaid,
    };
    let question = Question {
        what,
        cwd: plan.map_or(params.cwd.clone(), |plan| plan.cwd.clone()),
        env: params.env.clone().unwrap_or_default(),
        node,
        agent: plan.map_or(params.agent_id.clone(), |plan| plan.agent_id.clone()),
        session: plan.map_or(params.session_key.clone(), |plan| plan.session_key.clone()),
        file: plan.and_then(|plan| plan.mutable_file_operand.clone()),
    };
    let text = question.text();
    let request = request(params, &question, &text);
    let bytes = serde_json::to_string(&request).map_or(usize::MAX, |text| text.len());
    if bytes > limits::length(limits::APPROVAL_BYTES) {
        return Err(ErrorShape::invalid(format!(
            "the request is {bytes} bytes when every character is shown; at most {} can be decided on: put long input into a file",
            limits::APPROVAL_BYTES
        )));
    }
    let unavailable = params.unavailable_decisions.as_deref().unwrap_or_default();
    let possible = |decision: &Decision| *decision == Decision::Deny || !unavailable.contains(decision);
    Ok(Asked { question, request, text, allowed: Decision::ALL.into_iter().filter(possible).collect() })
}

fn given(text: Option<&String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The request in the form that shows every character. The members of protocol 3 are always there.
fn request(params: &ExecRequest, question: &Question, text: &str) -> Map<String, Value> {
    let word = |text: Option<&String>| text.map_or(Value::Null, |text| shown(text).into());
    let mut request: Map<String, Value> =
        V3_MEMBERS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    let old = [
        ("cwd", &question.cwd),
        ("host", &params.host),
        ("security", &params.security),
        ("ask", &params.ask),
        ("agentId", &question.agent),
        ("resolvedPath", &params.resolved_path),
        ("sessionKey", &question.session),
    ];
    request.insert("command".to_owned(), text.into());
    request.extend(old.map(|(name, text)| (name.to_owned(), word(text.as_ref()))));
    let new = [
        ("nodeId", &params.node_id),
        ("warningText", &params.warning_text),
        ("sessionId", &params.session_id),
        ("runId", &params.run_id),
        ("toolCallId", &params.tool_call_id),
        ("turnSourceChannel", &params.turn_source_channel),
        ("turnSourceTo", &params.turn_source_to),
        ("turnSourceAccountId", &params.turn_source_account_id),
    ];
    for (name, text) in new {
        if let Some(text) = text {
            request.insert(name.to_owned(), shown(text).into());
        }
    }
    if let What::Argv(argv) = &question.what {
        request.insert("commandArgv".to_owned(), argv.iter().map(|word| shown(word)).collect());
    }
    if !question.env.is_empty() {
        let env = question.env.iter().map(|(name, value)| (shown(name), variable(name, value).into()));
        request.insert("env".to_owned(), Value::Object(env.collect()));
    }
    if let Some(plan) = &params.system_run_plan {
        let plan = serde_json::json!({
            "argv": plan.argv.iter().map(|word| shown(word)).collect::<Vec<_>>(),
            "cwd": plan.cwd.as_deref().map(shown),
            "commandText": text,
            "agentId": plan.agent_id.as_deref().map(shown),
            "sessionKey": plan.session_key.as_deref().map(shown),
            "mutableFileOperand": plan.mutable_file_operand,
        });
        request.insert("systemRunPlan".to_owned(), plan);
    }
    request
}

/// The value of a variable as it is shown. One whose name says that it is a secret is not; the answer is bound
/// to it all the same.
fn variable(name: &str, value: &str) -> String {
    let name = name.to_ascii_uppercase();
    let secret = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL", "AUTH"];
    if secret.iter().any(|word| name.contains(word)) {
        return format!("<{} characters, hidden>", value.chars().count());
    }
    shown(value)
}
