//! Every order in which pairing and revocation can happen, tried by a model checker on the machines themselves.
//!
//! A state is what a story of steps has led to; the steps are taken by real clients on the real gateway, with a disk
//! that writes late and a process that may die at any moment. Stories that led to the same are told on once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde_json::{Value, json};
use stateright::{Checker as _, Model, Property};

use super::bench::{Bench, Client, Device, Disk, LOOPBACK, REMOTE, peer};
use crate::auth::Secret;
use crate::ids::ConnId;
use crate::settings::{AuthMode, Settings};

const SECRET: &str = "the gateway's own secret";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The device asks with the secret for this scope.
    Ask(&'static str),
    /// It comes with the last token that it was told.
    Return,
    /// An admin approves what waits now.
    Approve,
    /// An admin approves by the first name that a request ever had.
    ApproveFirst,
    Reject,
    Rotate,
    Revoke,
    Remove,
    /// Five minutes go by.
    Expire,
    /// The disk writes what it was given first.
    Write,
    /// The process dies and another one begins.
    Crash,
}

/// What one who watches knows of a story.
#[derive(Default)]
struct Watch {
    /// What was given: scopes of requests that an admin approved, since the device was last removed.
    given: BTreeSet<String>,
    /// What was given and acknowledged.
    acknowledged: BTreeSet<String>,
    /// Whether the last word on the tokens told so far was an acknowledged end of them.
    ended: BTreeSet<String>,
    told: Vec<String>,
    first_request: Option<String>,
    open: Vec<(ConnId, Option<String>)>,
    /// Requests of admins that wait for their answer.
    asked: Vec<(ConnId, Step, BTreeSet<String>)>,
    /// Connects that wait for their answer.
    knocking: Vec<(ConnId, Option<String>)>,
    faults: Vec<&'static str>,
}

struct Play {
    bench: Bench,
    watch: Watch,
    device: Device,
}

impl Play {
    fn new() -> Self {
        let mut bench = Bench::new(Settings::plain(AuthMode::Token(Secret::new(SECRET))));
        bench.disk = Disk::Silent;
        Self { bench, watch: Watch::default(), device: Device::new(1) }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(scope) => self.knock(SECRET, scope, None),
            Step::Return => {
                if let Some(token) = self.watch.told.last().cloned() {
                    self.knock(&token.clone(), "read", Some(token));
                }
            }
            Step::Approve | Step::ApproveFirst | Step::Reject => self.decide(step),
            Step::Rotate => self.manage(step, "device.token.rotate", json!({"role": "operator"})),
            Step::Revoke => self.manage(step, "device.token.revoke", json!({"role": "operator"})),
            Step::Remove => self.manage(step, "device.pair.remove", json!({})),
            Step::Expire => self.bench.pass(Duration::from_secs(301)),
            Step::Write => self.bench.write_one(),
            Step::Crash => {
                self.bench.crash();
                (self.watch.open, self.watch.asked, self.watch.knocking) = Default::default();
            }
        }
        self.hear();
        self.judge();
    }

    fn knock(&mut self, token: &str, scope: &str, by: Option<String>) {
        let client = Client::v4().token(token).device(&self.device).scopes(&[scope]);
        let conn = self.bench.send_connect(&peer(REMOTE), &client);
        self.watch.knocking.push((conn, by));
    }

    fn admin(&mut self) -> ConnId {
        let client = Client::v4().token(SECRET).scopes(&["admin"]);
        self.bench.connect_as(&peer(LOOPBACK), &client).0
    }

    fn decide(&mut self, step: Step) {
        let admin = self.admin();
        let list = self.bench.call(admin, "device.pair.list", &json!({}));
        let pending = &list["payload"]["pending"][0];
        let current = pending["requestId"].as_str().map(str::to_owned);
        let id = if step == Step::ApproveFirst { self.watch.first_request.clone() } else { current.clone() };
        let Some(id) = id else { return };
        let scopes = pending["scopes"].as_array().into_iter().flatten();
        let scopes = scopes.filter_map(Value::as_str).map(str::to_owned).collect();
        let method = if step == Step::Reject { "device.pair.reject" } else { "device.pair.approve" };
        // An old name approves nothing, whatever waits now.
        let given = if current == Some(id.clone()) { scopes } else { BTreeSet::new() };
        self.request(admin, step, given, method, &json!({"requestId": id}));
    }

    fn manage(&mut self, step: Step, method: &str, mut params: Value) {
        let admin = self.admin();
        params["deviceId"] = self.device.id().into();
        self.request(admin, step, BTreeSet::new(), method, &params);
    }

    fn request(&mut self, admin: ConnId, step: Step, scopes: BTreeSet<String>, method: &str, params: &Value) {
        if matches!(step, Step::Approve | Step::ApproveFirst) {
            self.watch.given.extend(scopes.iter().cloned());
        }
        let frame = json!({"type": "req", "id": "x", "method": method, "params": params});
        self.bench.say(admin, &frame);
        self.watch.asked.push((admin, step, scopes));
    }

    /// Takes note of the answers that have come.
    fn hear(&mut self) {
        let watch = &mut self.watch;
        for (admin, step, scopes) in std::mem::take(&mut watch.asked) {
            let Some(answer) = self.bench.answer(admin, "x") else {
                watch.asked.push((admin, step, scopes));
                continue;
            };
            if answer["ok"] != true {
                continue;
            }
            match step {
                Step::Approve | Step::ApproveFirst => watch.acknowledged.extend(scopes),
                Step::Rotate | Step::Revoke | Step::Remove => {
                    watch.ended.extend(watch.told.iter().cloned());
                    if step == Step::Remove {
                        watch.given.clear();
                        watch.acknowledged.clear();
                    }
                    let open = std::mem::take(&mut watch.open);
                    if open.iter().any(|(conn, _)| self.bench.is_open(*conn)) {
                        watch.faults.push("something that a revoked token let in goes on");
                    }
                }
                _ => {}
            }
        }
        for (conn, by) in std::mem::take(&mut watch.knocking) {
            let Some(answer) = self.bench.answer(conn, "c") else {
                watch.knocking.push((conn, by));
                continue;
            };
            if answer["ok"] == true {
                let auth = &answer["payload"]["auth"];
                let scopes = auth["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
                if !scopes.clone().all(|scope| watch.given.contains(scope)) {
                    watch.faults.push("a device has what nobody gave it");
                }
                if by.as_ref().is_some_and(|token| watch.ended.contains(token)) {
                    watch.faults.push("a revoked token lets in");
                }
                let token = auth["deviceToken"].as_str().unwrap_or_default().to_owned();
                if !watch.told.contains(&token) {
                    watch.told.push(token);
                }
                watch.open.push((conn, by));
            } else if let Some(id) = answer["error"]["details"]["requestId"].as_str() {
                watch.first_request.get_or_insert_with(|| id.to_owned());
                let on_disk = self.bench.records.values().any(|record| record.record.as_str().contains(id));
                // It may have been decided since; then its row is gone, and so is the wait.
                let undecided = self.bench.waiting().is_empty() && watch.asked.is_empty();
                if !on_disk && undecided && !self.bench.book.iter().any(|line| line.outcome == "ok") {
                    watch.faults.push("a request was named that is not on disk");
                }
            }
        }
    }

    /// What must hold after every step.
    fn judge(&mut self) {
        let row = self.bench.row(&self.device).unwrap_or_default();
        let kept: BTreeSet<&str> =
            row["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_removing = self.watch.asked.iter().any(|(_, step, _)| *step == Step::Remove);
        if !is_removing && !self.watch.acknowledged.iter().all(|scope| kept.contains(scope.as_str())) {
            self.watch.faults.push("an acknowledged approval is not on disk");
        }
    }

    /// What the story has led to, with the names that chance gave replaced by the order of their coming.
    fn digest(&self) -> String {
        let watch = &self.watch;
        let text = format!(
            "{:?} {:?} {} {:?} {:?} {:?} {:?} {:?} {:?} {} {:?}",
            self.bench.row(&self.device),
            self.bench.records.values().map(|record| record.record.as_str()).collect::<Vec<_>>(),
            self.bench.memory(),
            self.bench.waiting().iter().map(|transaction| &transaction.ops).collect::<Vec<_>>(),
            watch.given,
            watch.acknowledged,
            watch.ended,
            watch.told,
            watch.first_request,
            watch.open.iter().filter(|(conn, _)| self.bench.is_open(*conn)).count(),
            watch.asked.iter().map(|(_, step, _)| step).chain(&[]).collect::<Vec<_>>(),
        );
        renamed(&text)
    }
}

/// Replaces long words by numbers in the order in which they first stand, and leaves times out.
fn renamed(text: &str) -> String {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))) {
        let bare = word.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
        let is_time = bare.len() >= 13 && bare.bytes().all(|b| b.is_ascii_digit());
        if is_time {
            out.push('t');
        } else if bare.len() >= 36 {
            let next = names.len();
            out.push_str(&names.entry(bare).or_insert(next).to_string());
        } else {
            out.push_str(word);
        }
    }
    out
}

/// The stories that can be told with some steps.
struct Stories {
    steps: &'static [Step],
    /// The beginning, which is the same for all.
    beginning: &'static [Step],
    longest: usize,
}

#[derive(Clone, Debug)]
struct Story {
    steps: Vec<Step>,
    digest: String,
    faults: Vec<&'static str>,
}

impl PartialEq for Story {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.faults == other.faults
    }
}

impl Hash for Story {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
        self.faults.hash(state);
    }
}

fn told(steps: Vec<Step>) -> Story {
    let mut play = Play::new();
    for step in &steps {
        play.take(*step);
    }
    Story { digest: play.digest(), faults: play.watch.faults, steps }
}

impl Model for Stories {
    type State = Story;
    type Action = Step;

    fn init_states(&self) -> Vec<Story> {
        vec![told(self.beginning.to_vec())]
    }

    fn actions(&self, story: &Story, actions: &mut Vec<Step>) {
        if story.steps.len() < self.beginning.len() + self.longest {
            actions.extend(self.steps);
        }
    }

    fn next_state(&self, story: &Story, step: Step) -> Option<Story> {
        let mut steps = story.steps.clone();
        steps.push(step);
        Some(told(steps))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no promise is broken", |_, story: &Story| story.faults.is_empty()),
            Property::sometimes("a story leads to a connection", |_, story: &Story| {
                story.steps.contains(&Step::Write) && story.digest.contains("operator.")
            }),
        ]
    }
}

fn check(stories: Stories) {
    let checker = stories.checker().spawn_bfs().join();
    assert!(checker.unique_state_count() > 100, "only {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn no_order_of_asking_and_deciding_gives_what_nobody_approved() {
    use Step::{Approve, ApproveFirst, Ask, Crash, Expire, Reject, Write};
    check(Stories {
        steps: &[Ask("read"), Ask("admin"), Approve, ApproveFirst, Reject, Expire, Write, Crash],
        beginning: &[Ask("read"), Write],
        longest: 4,
    });
}

#[test]
fn no_order_of_coming_and_revoking_brings_a_token_back() {
    use Step::{Approve, Ask, Crash, Remove, Return, Revoke, Rotate, Write};
    check(Stories {
        steps: &[Return, Rotate, Revoke, Remove, Write, Crash],
        beginning: &[Ask("read"), Write, Approve, Write, Ask("read"), Write],
        longest: 4,
    });
}
