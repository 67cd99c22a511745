//! What a node tells of programs that it runs (spec 03 §2.8, §2.10).
//!
//! Only a run that the gateway has begun, on the connection that tells of it, is believed; anything else is an
//! invention and goes into the book of deeds [S-62]. The end of a program becomes a note for its session, once,
//! and its output stands there as untrusted text.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::exec::Run;
use super::invoke::subject;
use crate::audit::Verdict;
use crate::auth::Principal;
use crate::gateway::Gateway;
use crate::ids::{ConnId, DeviceId, SessionKey};
use crate::limits;
use crate::tools::{cut, wrap_untrusted};

/// The most of a program's output in a note, in bytes.
const MOST_OUTPUT: usize = 2_048;

/// The runs of programs that nodes may tell of.
#[derive(Default)]
pub(crate) struct Execs {
    runs: BTreeMap<String, Exec>,
    serial: u64,
}

struct Exec {
    node: DeviceId,
    conn: ConnId,
    session: Option<SessionKey>,
    is_quiet: bool,
    /// Its end has been told.
    over: bool,
    serial: u64,
}

impl Execs {
    /// The node's connection is gone, and what it runs with it.
    pub(super) fn gone(&mut self, conn: ConnId) {
        self.runs.retain(|_, exec| exec.conn != conn);
    }

    fn expect(&mut self, id: String, exec: Exec) {
        while self.runs.len() >= limits::length(limits::NODE_EXECS) {
            let oldest = self.runs.iter().min_by_key(|(_, exec)| exec.serial).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            self.runs.remove(&oldest);
        }
        self.serial += 1;
        self.runs.insert(id, Exec { serial: self.serial, ..exec });
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    exit_code: Option<i64>,
    #[serde(default)]
    timed_out: bool,
    #[serde(default)]
    output: Option<String>,
}

impl Gateway {
    /// A program begins on a node; the node may tell of it.
    pub(super) fn expect_exec(
        &mut self,
        node: &DeviceId,
        conn: ConnId,
        run: Run,
        session: Option<SessionKey>,
    ) {
        let Run { id, is_quiet, .. } = run;
        let exec = Exec { node: node.clone(), conn, session, is_quiet, over: false, serial: 0 };
        self.nodes.execs.expect(id, exec);
    }

    /// A node tells of a program. Whether that was about one that it was asked to run, and a word about it.
    pub(super) fn exec_event(
        &mut self,
        who: &Principal,
        node: &DeviceId,
        conn: ConnId,
        event: &str,
        payload: Value,
    ) -> (bool, Option<&'static str>) {
        let Ok(told) = serde_json::from_value::<Told>(payload) else {
            return (false, Some("invalid_payload"));
        };
        let run = told.run_id.as_deref().unwrap_or_default().trim().to_owned();
        let exec = self.nodes.execs.runs.get_mut(&run);
        let Some(exec) = exec.filter(|exec| exec.node == *node && exec.conn == conn && !exec.over) else {
            let verdict = Verdict::Denied("unmatched_exec_event".to_owned());
            self.audit(who, "node.event", &subject(node, event), &verdict);
            return (false, Some("unmatched_exec_event"));
        };
        if event == "exec.started" {
            return (true, None);
        }
        exec.over = true;
        let (session, is_quiet) = (exec.session.clone(), exec.is_quiet);
        let output = told.output.as_deref().map(str::trim).filter(|output| !output.is_empty());
        let worth_it = told.timed_out || told.exit_code != Some(0) || output.is_some();
        if event == "exec.finished" && worth_it && !is_quiet {
            let code = match (told.timed_out, told.exit_code) {
                (true, _) => "timeout".to_owned(),
                (false, Some(code)) => format!("code {code}"),
                (false, None) => "code ?".to_owned(),
            };
            let mut text = format!("Exec finished (node={node} id={run}, {code})");
            if let Some(output) = output {
                let id = self.entropy.entry_id();
                let output = cut(output.to_owned(), MOST_OUTPUT);
                text.push('\n');
                text.push_str(&wrap_untrusted(&id, &format!("program on node {node}"), &output));
            }
            let usual = || self.sessions.resolve(&format!("node-{node}")).ok();
            if let Some(session) = session.or_else(usual) {
                self.system.enqueue(session, &text);
            }
        }
        (true, None)
    }
}
