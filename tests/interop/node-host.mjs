// An operator at the gateway of the reference: node node-host.mjs URL TOKEN
//
// Asks the one node that is connected there for what it can do, and reports the answers.

import { load, report, within } from "./lib.mjs";

const [url, token] = process.argv.slice(2);
const { GatewayClient } = await load("@openclaw/gateway-client/dist/index.mjs");

await report(async () => {
  let client;
  await within(
    new Promise((resolve, reject) => {
      client = new GatewayClient({
        url,
        token,
        deviceIdentity: null,
        hostDeps: {},
        minProtocol: 3,
        maxProtocol: 3,
        scopes: ["operator.admin"],
        onHelloOk: resolve,
        onConnectError: reject,
        onReconnectPaused: (info) => reject(new Error(`paused: ${JSON.stringify(info)}`)),
      });
      client.start();
    }),
    "hello",
  );
  const ask = (method, params) => client.request(method, params).catch((error) => ({ refused: error.message }));
  const { nodes } = await ask("node.list", {});
  const { nodeId } = nodes[0];
  let key = 0;
  const invoke = async (command, params) => {
    const answer = await ask("node.invoke", { nodeId, command, params, idempotencyKey: `key-${key++}` });
    return answer.payload ?? answer;
  };
  const which = await invoke("system.which", { bins: ["sh", "no-such-program"] });
  const claimed = await invoke("system.run", {
    command: ["echo", "tide"],
    approved: true,
    approvalDecision: "allow-once",
    runId: "claimed",
  });
  const snapshot = await ask("exec.approvals.node.get", { nodeId });
  const file = { version: 1, agents: { main: { security: "full", ask: "off" } } };
  const set = await ask("exec.approvals.node.set", { nodeId, file, baseHash: snapshot.hash });
  const ran = await invoke("system.run", { command: ["echo", "tide and moon"] });
  const absent = await invoke("system.notify", { title: "x" });
  client.stop();
  return { nodes, which, claimed, snapshot, set, ran, absent };
});
