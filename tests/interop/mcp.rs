//! `@modelcontextprotocol/server-everything`, the protocol's own test server, over both transports.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use telson_tests::on_both_binaries;
use telson_tests::support::PATIENCE;
use telson_tests::support::binary::Binary;
use telson_tests::support::client::{Client, Dialect};
use telson_tests::support::gateway::{Gateway, Home};
use telson_tests::support::{http, packages};

on_both_binaries!(its_tools_are_called_over_stdio, its_tools_are_called_over_streamable_http);

const SERVER: &str = "@modelcontextprotocol/server-everything/dist/index.js";

/// A server on a port of its own; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The names of the server's tools, once it is ready.
fn tools(client: &mut Client) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let lists = client.ask("tools.effective", &json!({"sessionKey": "main"}));
        let groups = lists["groups"].as_array().expect("there are groups").iter();
        let servers = groups.filter(|group| group["id"] == "mcp").flat_map(|group| group["tools"].as_array());
        let names: Vec<String> =
            servers.flatten().filter_map(|tool| tool["id"].as_str().map(str::to_owned)).collect();
        if !names.is_empty() {
            return names;
        }
        assert!(begun.elapsed() < PATIENCE, "the server is never ready: {lists:#}");
    }
}

/// Calls a tool as a program does: the status and the answer.
fn invoke(gateway: &Gateway, tool: &str, arguments: &Value) -> (u16, Value) {
    let body = json!({"tool": tool, "args": arguments}).to_string();
    let request = format!(
        "POST /tools/invoke HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        gateway.address,
        gateway.token(),
        body.len()
    );
    let reply = http::raw(gateway.address, request.as_bytes());
    (reply.status, serde_json::from_str(&reply.body).expect("the answer is JSON"))
}

fn calls_everything(gateway: &Gateway) {
    let mut client = gateway.operator(Dialect::V4);
    let names = tools(&mut client);
    assert!(names.contains(&"everything__echo".to_owned()), "{names:?}");
    let (status, echo) = invoke(gateway, "everything__echo", &json!({"message": "the sea"}));
    assert!(status == 200 && echo.to_string().contains("Echo: the sea"), "{status} {echo:#}");
    let (status, wrong) = invoke(gateway, "everything__echo", &json!({"message": 7}));
    assert!(
        status == 400 && wrong.to_string().contains("Invalid arguments for tool echo"),
        "{status} {wrong:#}"
    );
}

fn its_tools_are_called_over_stdio(binary: Binary) {
    let home = Home::new(binary);
    let node = packages::node(&packages::module(SERVER));
    let mut arguments: Vec<&str> = node.get_args().filter_map(|argument| argument.to_str()).collect();
    arguments.push("stdio");
    let config = json!({"mcp": {"servers": {"everything": {
        "command": node.get_program().to_str(), "args": arguments,
    }}}});
    home.configure(&config.to_string());
    calls_everything(&home.start());
}

fn its_tools_are_called_over_streamable_http(binary: Binary) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut command = packages::node(&packages::module(SERVER));
    command.arg("streamableHttp").env("PORT", port.to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = Server(command.spawn().expect("the server starts"));
    let mut said = BufReader::new(server.0.stderr.take().expect("a pipe")).lines();
    let listens = |line: &String| line.contains("listening");
    assert!(said.by_ref().map_while(Result::ok).any(|line| listens(&line)), "the server listens");
    let home = Home::new(binary);
    let url = format!("http://127.0.0.1:{port}/mcp");
    home.configure(&json!({"mcp": {"servers": {"everything": {"url": url}}}}).to_string());
    calls_everything(&home.start());
}
