//! `models`: which there are, and whether one answers (spec 02 §15.1, §20.4).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telson_core::config::Failure;

use crate::config::Places;
use crate::runtime::Runtime;

use super::args::{ModelsList, ModelsTest};
use super::cells::{list as members, number, text};
use super::chat::fresh_key;
use super::client::{Client, Frame, within};
use super::error::CliError;
use super::show::connect;
use super::term::Output;

/// How long a model may take to answer.
const ANSWER: Duration = Duration::from_secs(60);

/// What a model is asked.
const QUESTION: &str = "Answer with the one word: ready";

/// `models list`
pub(crate) async fn list<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ModelsList,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let params = if args.all { json!({"view": "all"}) } else { json!({}) };
    let answers = async {
        let models = client.call("models.list", params).await?;
        let defaults = client.call("sessions.list", json!({"limit": 1})).await?;
        Ok::<_, CliError>((models, defaults))
    }
    .await;
    client.close().await;
    let (models, sessions) = answers?;
    if output.json {
        output.value(&models);
        return Ok(());
    }
    let defaults = sessions.get("defaults").unwrap_or(&Value::Null);
    let default = format!("{}/{}", text(defaults, "modelProvider"), text(defaults, "model"));
    let rows = rows(members(&models, "models"), &default);
    if rows.is_empty() {
        output.line("No models. Name a provider in models.providers of the configuration.");
        return Ok(());
    }
    output.table(&["MODEL", "NAME", "CONTEXT", "READS", "THINKS", "STATE"], rows);
    Ok(())
}

fn rows(models: &[Value], default: &str) -> Vec<Vec<String>> {
    let row = |model: &Value| {
        let name = format!("{}/{}", text(model, "provider"), text(model, "id"));
        let mut state = Vec::new();
        if name == default {
            state.push("default".to_owned());
        }
        let alias = text(model, "alias");
        if !alias.is_empty() {
            state.push(format!("alias {alias}"));
        }
        if model.get("available") == Some(&Value::Bool(false)) {
            let reason = text(model, "unavailableReason");
            state.push(if reason.is_empty() { "not available".to_owned() } else { reason });
        }
        let reads: Vec<&str> = members(model, "input").iter().filter_map(Value::as_str).collect();
        let thinks = if model.get("reasoning") == Some(&Value::Bool(true)) { "yes" } else { "no" };
        let context = number(model, "contextWindow");
        vec![name, text(model, "name"), context, reads.join(" "), thinks.to_owned(), state.join(", ")]
    };
    models.iter().map(row).collect()
}

/// What a test of a model found.
#[derive(Debug, Default)]
struct Trial {
    first: Option<Duration>,
    total: Duration,
    /// The second answer to `agent`.
    done: Value,
}

/// `models test`
pub(crate) async fn test<R: Runtime>(
    runtime: &R,
    places: &Places,
    args: &ModelsTest,
    output: Output,
) -> Result<(), CliError> {
    let (mut client, _) = connect(runtime, places, &args.client).await?;
    let default = client.hello.pointer("/snapshot/sessionDefaults/defaultAgentId").and_then(Value::as_str);
    let agent =
        args.agent.clone().or_else(|| default.map(str::to_owned)).unwrap_or_else(|| "main".to_owned());
    let key = format!("agent:{agent}:model-test-{}", fresh_key()?);
    let patience = args.client.patience_or(ANSWER);
    let tried = trial(runtime, &mut client, &key, args.model.as_deref(), patience).await;
    // The test leaves nothing behind, however it went; that it failed matters more than that it could not be
    // tidied up.
    let tidied = client.call("sessions.delete", json!({"key": key})).await;
    client.close().await;
    let trial = tried?;
    tidied?;
    if output.json {
        output.value(&trial.json());
    } else {
        output.pairs(&trial.pairs());
    }
    Ok(())
}

/// One small run in the session of that key.
async fn trial<R: Runtime>(
    runtime: &R,
    client: &mut Client<R>,
    key: &str,
    model: Option<&str>,
    patience: Duration,
) -> Result<Trial, CliError> {
    if let Some(model) = model {
        let patched = client.call("sessions.patch", json!({"key": key, "model": model})).await;
        patched.map_err(|error| error.hint("see: {program} models list --all"))?;
    }
    let run = fresh_key()?;
    let params = json!({
        "message": QUESTION, "sessionKey": key, "idempotencyKey": run, "deliver": false,
        "timeout": patience.as_secs().max(1),
    });
    let started = Instant::now();
    let request = client.send("agent", params).await?;
    let until = started + patience;
    let answered = within(runtime, until, follow(client, &request, &run, started)).await;
    let late = || {
        let message = format!("the model did not answer within {} seconds", patience.as_secs());
        CliError::new(Failure::RunFailed, message).hint("--timeout MS waits longer")
    };
    let trial = answered.ok_or_else(late)?.map_err(|error| match error.failure {
        Failure::RpcError | Failure::Unavailable => CliError { failure: Failure::RunFailed, ..error },
        _ => error,
    })?;
    if trial.done.pointer("/result/meta/aborted") == Some(&Value::Bool(true)) {
        return Err(late());
    }
    Ok(trial)
}

/// Waits for the second answer, and notes when the first words came.
async fn follow<R: Runtime>(
    client: &mut Client<R>,
    request: &str,
    run: &str,
    started: Instant,
) -> Result<Trial, CliError> {
    let mut first = None;
    loop {
        match client.next().await? {
            Frame::Answer { id, outcome } if id == request => {
                let done = outcome.map_err(|error| *error)?;
                if text(&done, "status") != "accepted" {
                    return Ok(Trial { first, total: started.elapsed(), done });
                }
            }
            Frame::Event { name, payload } if name == "chat" && text(&payload, "runId") == run => {
                if first.is_none() && text(&payload, "state") == "delta" {
                    first = Some(started.elapsed());
                }
            }
            Frame::Answer { .. } | Frame::Event { .. } => {}
        }
    }
}

impl Trial {
    fn about(&self, name: &str) -> &Value {
        self.done.pointer(&format!("/result/meta/agentMeta/{name}")).unwrap_or(&Value::Null)
    }

    fn model(&self) -> String {
        let part = |name| self.about(name).as_str().unwrap_or("unknown");
        format!("{}/{}", part("provider"), part("model"))
    }

    fn words(&self) -> String {
        let payloads = members(self.done.get("result").unwrap_or(&Value::Null), "payloads");
        payloads.iter().map(|payload| text(payload, "text")).collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> Value {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        json!({
            "ok": true, "model": self.model(), "firstTokenMs": self.first.map(millis),
            "totalMs": millis(self.total), "usage": self.about("usage"), "text": self.words(),
        })
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let millis = |time: Duration| format!("{} ms", time.as_millis());
        let usage = self.about("usage");
        let tokens = |name: &str| usage.get(name).and_then(Value::as_u64);
        let tokens = match (tokens("input"), tokens("output")) {
            (Some(input), Some(output)) => format!("{input} in, {output} out"),
            _ => "unknown".to_owned(),
        };
        vec![
            ("Model", self.model()),
            ("State", "ok".to_owned()),
            ("First token", self.first.map_or_else(|| "all at once".to_owned(), millis)),
            ("Total", millis(self.total)),
            ("Tokens", tokens),
            ("Answer", super::cells::cut(&self.words(), 60)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_listed_with_what_it_can_and_how_it_stands() {
        let models = [
            json!({"id": "a", "name": "A", "provider": "local", "contextWindow": 200_000, "reasoning": true,
                "input": ["text", "image"], "available": true, "alias": "mini"}),
            json!({"id": "b", "name": "B", "provider": "local", "reasoning": false, "input": ["text"],
                "available": false, "unavailableReason": "missing-auth"}),
        ];
        let rows = rows(&models, "local/a");
        assert_eq!(rows[0], ["local/a", "A", "200,000", "text image", "yes", "default, alias mini"]);
        assert_eq!(rows[1], ["local/b", "B", "", "text", "no", "missing-auth"]);
    }

    #[test]
    fn a_test_tells_times_and_tokens() {
        let done = json!({"status": "ok", "result": {"payloads": [{"text": "ready"}], "meta": {"agentMeta":
            {"provider": "local", "model": "a", "usage": {"input": 7, "output": 3, "total": 10}}}}});
        let trial = Trial { first: Some(Duration::from_millis(40)), total: Duration::from_millis(90), done };
        let json = trial.json();
        assert_eq!((&json["firstTokenMs"], &json["totalMs"]), (&json!(40), &json!(90)));
        assert_eq!((&json["model"], &json["text"]), (&json!("local/a"), &json!("ready")));
        assert!(trial.pairs().contains(&("Tokens", "7 in, 3 out".to_owned())));
        let silent = Trial { done: json!({"status": "ok"}), ..Trial::default() };
        assert!(silent.pairs().contains(&("Tokens", "unknown".to_owned())));
    }
}
