//! llama.cpp's own server, with a model of a few random layers: real tokens from a real model server.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;
use telson_tests::on_both_binaries;
use telson_tests::support::binary::{Binary, workspace};
use telson_tests::support::command::Outcome;
use telson_tests::support::gateway::Home;
use telson_tests::support::packages;

on_both_binaries!(tokens_of_a_real_model_reach_a_client);

/// The server; it ends with this.
struct Llama {
    child: Child,
    url: String,
}

impl Llama {
    fn start() -> Self {
        let mut command = packages::python(&workspace().join("tests/interop/llama_server.py"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        output.read_line(&mut line).expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).expect("it says so in JSON");
        Self { child, url: said["url"].as_str().expect("a URL").to_owned() }
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tokens_of_a_real_model_reach_a_client(binary: Binary) {
    let llama = Llama::start();
    let home = Home::new(binary);
    let provider = format!(
        r#"{{"baseUrl": "{}/v1", "api": "openai-completions", "models": [{{"id": "tiny", "name": "Tiny", "contextWindow": 4096, "maxTokens": 64}}]}}"#,
        llama.url
    );
    home.configure(&format!(
        r#"{{
            "gateway": {{"http": {{"endpoints": {{"chatCompletions": {{"enabled": true}}}}}}}},
            "models": {{"providers": {{"llama": {provider}}}}},
            "agents": {{"defaults": {{"model": {{"primary": "llama/tiny"}}}}}},
            "tools": {{"deny": ["*"]}},
        }}"#
    ));
    let gateway = home.start();
    let script = workspace().join("tests/interop/openai_sdk.py");
    let mut command = packages::python(&script);
    command.args([&gateway.url(), &gateway.token(), "real"]);
    let seen = Outcome::of(&mut command).success().json();
    assert!(seen["whole"].as_str().is_some_and(|text| !text.is_empty()), "{seen:#}");
    assert_eq!((seen["tokens"].as_u64(), seen["finish"].as_str()), (Some(12), Some("length")), "{seen:#}");
    assert!(seen["pieces"].as_u64().is_some_and(|pieces| pieces > 1), "{seen:#}");
    assert_eq!(seen["streamTokens"].as_u64(), Some(24), "{seen:#}");
}
