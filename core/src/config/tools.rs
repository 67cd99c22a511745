//! From the checked file to the settings of tools and their servers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::build::{count, flag, model, text, texts};
use super::check::Check;
use super::failure::Failure;
use super::issue::Issue;
use super::models::is_header_name;
use super::tree::{Member, Node};
use crate::limits::length;
use crate::mcp::settings::{McpServerSettings, McpTransport};
use crate::process::ProcessSpec;
use crate::sessions::keys::normalise_agent;
use crate::tools::settings::{
    AgentToolSettings, PolicySettings, Profile, SubagentSettings, ToolSettings, Visibility, WebFetchSettings,
};

/// How long a call of a server takes when nothing is said.
const CALL_MS: u64 = 60_000;

/// Everything about tools but their servers.
pub(super) fn tools(root: &Node, check: &mut Check<'_>) -> ToolSettings {
    let plain = ToolSettings::default();
    let list = |path: &str| texts(root, path).map(str::to_owned).collect::<Vec<_>>();
    let talk = flag(root, "tools.agentToAgent.enabled") == Some(true);
    ToolSettings {
        policy: policy(root.at("tools"), "tools", check),
        agents: agents(root, check),
        subagents: subagents(root, check),
        agent_to_agent: talk.then(|| list("tools.agentToAgent.allow")),
        visibility: text(root, "tools.sessions.visibility")
            .and_then(|word| Visibility::parse(&word))
            .unwrap_or(plain.visibility),
        web_fetch: web_fetch(root, plain.web_fetch),
    }
}

fn web_fetch(root: &Node, plain: WebFetchSettings) -> WebFetchSettings {
    let number = |name: &str| count(root, &format!("tools.web.fetch.{name}"));
    WebFetchSettings {
        enabled: flag(root, "tools.web.fetch.enabled").unwrap_or(plain.enabled),
        max_chars: number("maxChars").map_or(plain.max_chars, length),
        max_bytes: number("maxBytes").map_or(plain.max_bytes, length),
        timeout: number("timeoutSeconds").map_or(plain.timeout, Duration::from_secs),
        max_redirects: number("maxRedirects").map_or(plain.max_redirects, length),
        user_agent: text(root, "tools.web.fetch.userAgent").unwrap_or(plain.user_agent),
    }
}

fn subagents(root: &Node, check: &mut Check<'_>) -> SubagentSettings {
    let plain = SubagentSettings::default();
    let nothing = Node::empty();
    let node = root.at("agents.defaults.subagents").unwrap_or(&nothing);
    SubagentSettings {
        max_depth: count(node, "maxSpawnDepth").map_or(plain.max_depth, length),
        max_children: count(node, "maxChildrenPerAgent").map_or(plain.max_children, length),
        model: model(node),
        timeout: count(node, "runTimeoutSeconds").map(Duration::from_secs),
        policy: policy(root.at("tools.subagents.tools"), "tools.subagents.tools", check),
    }
}

fn agents(root: &Node, check: &mut Check<'_>) -> BTreeMap<crate::ids::AgentId, AgentToolSettings> {
    let mut agents = BTreeMap::new();
    for (index, node) in root.at("agents.list").map(Node::items).unwrap_or_default().iter().enumerate() {
        let Some(id) = text(node, "id") else { continue };
        let settings = AgentToolSettings {
            policy: policy(node.get("tools"), &format!("agents.list.{index}.tools"), check),
            allow_agents: texts(node, "subagents.allowAgents").map(str::to_owned).collect(),
        };
        agents.insert(normalise_agent(&id), settings);
    }
    agents
}

/// One scope of the policy. `allow` names everything there is, so nothing can be allowed beside it.
fn policy(node: Option<&Node>, path: &str, check: &mut Check<'_>) -> PolicySettings {
    let Some(node) = node else { return PolicySettings::default() };
    let list = |name: &str| texts(node, name).map(str::to_owned).collect::<Vec<_>>();
    let (allow, also_allow) = (list("allow"), list("alsoAllow"));
    if !allow.is_empty() && !also_allow.is_empty() {
        let at = node.get("alsoAllow").map_or(node.range.start, |node| node.range.start);
        let problem = "stands beside allow, which already names everything that is allowed";
        let issue = Issue::new(Failure::ConfigInvalid, format!("{path}.alsoAllow"), problem);
        check.refuse(at, issue.expecting("either allow, or profile with alsoAllow"));
    }
    let members = node.get("byProvider").map(Node::members).unwrap_or_default();
    let by_provider = members.iter().map(|member| {
        let path = format!("{path}.byProvider.{}", member.name.escape_debug());
        (member.name.trim().to_lowercase(), policy(Some(&member.node), &path, check))
    });
    PolicySettings {
        by_provider: by_provider.collect(),
        profile: text(node, "profile").and_then(|word| Profile::parse(&word)),
        allow,
        also_allow,
        deny: list("deny"),
    }
}

/// The servers of `mcp.servers`, by name.
pub(super) fn servers(root: &Node, check: &mut Check<'_>) -> Vec<McpServerSettings> {
    let members = root.at("mcp.servers").map(Node::members).unwrap_or_default();
    let mut servers: Vec<McpServerSettings> =
        members.iter().filter_map(|member| server(member, check)).collect();
    servers.sort_by(|a, b| a.name.cmp(&b.name));
    servers
}

fn server(member: &Member, check: &mut Check<'_>) -> Option<McpServerSettings> {
    let node = &member.node;
    let path = format!("mcp.servers.{}", member.name.escape_debug());
    let mut refuse = |field: &str, problem: &str, expected: &str| {
        let issue = Issue::new(Failure::ConfigInvalid, format!("{path}{field}"), problem);
        check.refuse(member.at, issue.expecting(expected));
    };
    let name = member.name.trim();
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        refuse("", "cannot be the name of a server", "a name of 1 to 64 characters");
        return None;
    }
    let asked = text(node, "transport");
    let transport = match (text(node, "command"), text(node, "url")) {
        (Some(program), None) if asked.as_deref() != Some("streamable-http") => {
            McpTransport::Stdio(ProcessSpec {
                program,
                args: texts(node, "args").map(str::to_owned).collect(),
                env: pairs(node, "env"),
                cwd: text(node, "cwd"),
            })
        }
        (None, Some(url)) if asked.as_deref() != Some("stdio") => {
            let headers = pairs(node, "headers");
            for name in headers.keys().filter(|name| !is_header_name(name)) {
                refuse(&format!(".headers.{}", name.escape_debug()), "is not a header name", "a header name");
            }
            McpTransport::Http { url, headers }
        }
        (Some(_), Some(_)) => {
            refuse("", "has both command and url", "one of them");
            return None;
        }
        (None, None) => {
            refuse(
                "",
                "has neither command nor url",
                "command for a program, or url for a server on the net",
            );
            return None;
        }
        _ => {
            refuse(".transport", "does not go with the rest", "stdio with command, streamable-http with url");
            return None;
        }
    };
    let list = |path: &str| texts(node, path).map(str::to_owned).collect();
    Some(McpServerSettings {
        name: name.to_owned(),
        enabled: flag(node, "enabled").unwrap_or(true),
        transport,
        timeout: Duration::from_millis(count(node, "timeoutMs").unwrap_or(CALL_MS)),
        allow: list("tools.allow"),
        deny: list("tools.deny"),
    })
}

fn pairs(node: &Node, name: &str) -> BTreeMap<String, String> {
    let members = node.get(name).map(Node::members).unwrap_or_default();
    members.iter().filter_map(|member| Some((member.name.clone(), member.node.text()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::{Environment, Flags, Loaded, Surroundings, load};
    use super::*;
    use crate::auth::Secret;
    use crate::ids::AgentId;
    use crate::settings::{AuthMode, Settings};

    fn read(text: &str) -> Result<Loaded, Vec<Issue>> {
        let env =
            [("TOKEN".to_owned(), "a-long-secret-token".to_owned())].into_iter().collect::<Environment>();
        load(Some(text), &env, &Flags::default(), &Surroundings::default())
    }

    fn settings(text: &str) -> Settings {
        let facts = Settings::plain(AuthMode::None).facts;
        read(text).expect("no mistakes").settings(facts, Some(Secret::new("x"))).unwrap()
    }

    fn refusal(text: &str) -> String {
        let issues = read(text).expect_err("a mistake");
        assert_eq!(issues.len(), 1, "{issues:?}");
        issues[0].to_string()
    }

    #[test]
    fn the_policy_is_read_for_all_and_for_each_agent() {
        let settings = settings(
            "{tools: {profile: 'coding', alsoAllow: ['x'], deny: ['y'], byProvider: {Ollama: {allow: ['z']}},
                sessions: {visibility: 'all'}, agentToAgent: {enabled: true}, web: {fetch: {maxRedirects: 5}},
                subagents: {tools: {deny: ['web_fetch']}}},
              agents: {defaults: {subagents: {maxSpawnDepth: 2, model: 'a/b'}},
                list: [{id: 'Ops', tools: {allow: ['group:web']}, subagents: {allowAgents: ['*']}}]}}",
        );
        let tools = settings.tools;
        assert_eq!(
            (tools.policy.profile, tools.policy.also_allow),
            (Some(Profile::Coding), vec!["x".to_owned()])
        );
        assert_eq!(tools.policy.by_provider["ollama"].allow, ["z"]);
        assert_eq!((tools.visibility, tools.agent_to_agent), (Visibility::All, Some(Vec::new())));
        assert_eq!((tools.web_fetch.max_redirects, tools.web_fetch.max_chars), (5, 50_000));
        assert_eq!(
            (tools.subagents.max_depth, tools.subagents.policy.deny),
            (2, vec!["web_fetch".to_owned()])
        );
        let ops = &tools.agents[&AgentId::new("ops")];
        assert_eq!(
            (ops.policy.allow.as_slice(), ops.allow_agents.as_slice()),
            (&["group:web".to_owned()][..], &["*".to_owned()][..])
        );
    }

    #[test]
    fn two_lists_of_what_is_allowed_contradict_each_other() {
        let said = refusal("{tools: {allow: ['a'], alsoAllow: ['b']}}");
        assert!(said.starts_with("tools.alsoAllow: stands beside allow"), "{said}");
    }

    #[test]
    fn servers_are_programs_or_addresses() {
        let settings = settings(
            "{mcp: {servers: {
                b: {command: 'npx', args: ['-y', 'x'], env: {KEY: '${TOKEN}'}, cwd: '/srv', timeoutMs: 5000},
                a: {url: 'https://example.org/mcp', headers: {Authorization: 'Bearer ${TOKEN}'}, enabled: false,
                    tools: {allow: ['get_*'], deny: ['get_all']}},
            }}}",
        );
        let [far, near] = settings.mcp.as_slice() else { panic!("{:?}", settings.mcp) };
        assert_eq!(
            (far.name.as_str(), far.enabled, far.deny.as_slice()),
            ("a", false, &["get_all".to_owned()][..])
        );
        assert_eq!(near.timeout, Duration::from_secs(5));
        let McpTransport::Stdio(spec) = &near.transport else { panic!("{near:?}") };
        assert_eq!((spec.program.as_str(), spec.env["KEY"].as_str()), ("npx", "a-long-secret-token"));
        assert!(!format!("{settings:?}").contains("a-long-secret-token"), "secrets stay out of logs");
    }

    #[test]
    fn secrets_of_servers_are_known_to_the_logs_and_hidden_from_the_view() {
        let text = "{mcp: {servers: {a: {command: 'x', env: {KEY: 'sesame-open-now', N: '1'}}}}}";
        let loaded = read(text).unwrap();
        let known: Vec<&str> = loaded.secrets().collect();
        assert_eq!(known, ["sesame-open-now"]);
        let facts = Settings::plain(AuthMode::None).facts;
        let view = loaded.settings(facts, Some(Secret::new("x"))).unwrap().config;
        assert!(!view.raw.unwrap().contains("sesame"));
        assert!(!view.config.as_str().contains("sesame"));
    }

    #[test]
    fn a_server_that_cannot_be_is_refused_with_its_name() {
        for (server, problem) in [
            ("{}", "mcp.servers.s: has neither command nor url"),
            ("{command: 'x', url: 'http://h'}", "mcp.servers.s: has both command and url"),
            (
                "{command: 'x', transport: 'streamable-http'}",
                "mcp.servers.s.transport: does not go with the rest",
            ),
            ("{url: 'http://h', headers: {'a b': 'c'}}", "mcp.servers.s.headers.a b: is not a header name"),
        ] {
            let said = refusal(&format!("{{mcp: {{servers: {{s: {server}}}}}}}"));
            assert!(said.starts_with(problem), "{said}");
        }
    }
}
