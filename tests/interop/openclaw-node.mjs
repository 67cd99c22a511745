// The openclaw-node library: node openclaw-node.mjs URL TOKEN

import { load, report, within } from "./lib.mjs";

const [url, token] = process.argv.slice(2);
const { OpenClawClient } = await load("openclaw-node/dist/index.mjs");

await report(async () => {
  const client = new OpenClawClient({ url, token, autoReconnect: false });
  await within(client.connect(), "hello");
  const words = "what moves the sea but tide and moon";

  const chunks = [];
  await within(
    (async () => {
      for await (const chunk of client.chat(words, { sessionKey: "main" })) chunks.push(chunk);
    })(),
    "the answer",
  );
  const sync = await within(client.chatSync("good morning", { agentId: "main" }), "the second answer");
  const health = await within(client.request("health", {}), "health");
  const agents = await within(client.agents.list(), "the agents");
  const sessions = await within(client.sessions.list({}), "the sessions");
  const key = (sessions.sessions ?? sessions)[0].key;
  const aborted = await within(client.request("chat.abort", { sessionKey: key }), "the abort");
  await client.disconnect();

  return {
    text: chunks.filter((c) => c.type === "text").map((c) => c.text).join(""),
    pieces: chunks.filter((c) => c.type === "text").length,
    kinds: [...new Set(chunks.map((c) => c.type))],
    errors: chunks.filter((c) => c.type === "error"),
    sync,
    health: (health.payload ?? health).ok,
    agents: (agents.agents ?? []).map((agent) => agent.id),
    key,
    aborted: (aborted.payload ?? aborted).aborted,
  };
});
