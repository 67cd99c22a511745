// The reference library: node gateway-client.mjs URL TOKEN plain|device
//
// Connects, chats, aborts, and reports what it saw. With a device it connects a second time with the device token
// that it was given the first time.

import { createHash, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { load, report, within } from "./lib.mjs";

const [url, token, how] = process.argv.slice(2);
const { GatewayClient } = await load("@openclaw/gateway-client/dist/index.mjs");

function rawPublicKey(pem) {
  return createPublicKey(pem).export({ format: "jwk" }).x;
}

function makeDevice() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" });
  return {
    deviceId: createHash("sha256").update(Buffer.from(rawPublicKey(publicKeyPem), "base64url")).digest("hex"),
    publicKeyPem,
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
  };
}

const stored = new Map();
const device = how === "device" ? makeDevice() : null;
const hostDeps = {
  signDevicePayload: (pem, payload) => sign(null, Buffer.from(payload), pem).toString("base64url"),
  publicKeyRawBase64UrlFromPem: rawPublicKey,
  loadDeviceAuthToken: ({ role }) => stored.get(role) ?? null,
  storeDeviceAuthToken: ({ role, token, scopes }) => stored.set(role, { token, scopes }),
};

async function connect(secret) {
  const events = [];
  const gaps = [];
  const waiting = new Set();
  let client;
  const hello = await within(
    new Promise((resolve, reject) => {
      client = new GatewayClient({
        url,
        token: secret,
        deviceIdentity: device,
        hostDeps: device ? hostDeps : {},
        scopes: ["operator.admin", "operator.read", "operator.write"],
        onHelloOk: resolve,
        onConnectError: reject,
        onReconnectPaused: (info) => reject(new Error(`paused: ${JSON.stringify(info)}`)),
        onGap: (gap) => gaps.push(gap),
        onEvent: (event) => {
          events.push(event);
          for (const check of waiting) check();
        },
      });
      client.start();
    }),
    "hello",
  );
  const event = (what, wanted) =>
    within(
      new Promise((resolve) => {
        const check = () => {
          const found = events.find(wanted);
          if (found) {
            waiting.delete(check);
            resolve(found);
          }
        };
        waiting.add(check);
        check();
      }),
      what,
    );
  return { client, hello, events, gaps, event };
}

function textOf(payload) {
  const content = payload.message?.content;
  return typeof content === "string" ? content : (content ?? []).map((block) => block.text ?? "").join("");
}

await report(async () => {
  const { client, hello, events, gaps, event } = await connect(token);
  const health = await client.request("health", {});
  const words = "what moves the sea but tide and moon";
  const sessionKey = "agent:main:main";
  const chat = (state, run) => (e) =>
    e.event === "chat" && e.payload.runId === run && e.payload.state === state;

  const sent = await client.request("chat.send", { sessionKey, message: words, idempotencyKey: `chat-${how}` });
  const final = await event("the final", chat("final", sent.runId));
  const deltas = events.filter(chat("delta", sent.runId));

  const long = await client.request("chat.send", {
    sessionKey,
    message: "tide ".repeat(400),
    idempotencyKey: `long-${how}`,
  });
  await event("a delta", chat("delta", long.runId));
  const abort = await client.request("chat.abort", { sessionKey, runId: long.runId });
  const aborted = await event("the abort", chat("aborted", long.runId));

  const agent = await client.request(
    "agent",
    { message: words, agentId: "main", idempotencyKey: `agent-${how}` },
    { expectFinal: true },
  );
  const history = await client.request("chat.history", { sessionKey, limit: 200 });
  const refused = await client.request("no.such.method", {}).catch((error) => error.message);
  client.stop();

  let again = null;
  if (device) {
    const second = await connect(undefined);
    again = { method: second.hello.auth.method, status: typeof (await second.client.request("status", {})) };
    second.client.stop();
  }
  return {
    protocol: hello.protocol,
    method: hello.auth.method,
    deviceToken: hello.auth.deviceToken !== undefined,
    health: health.ok,
    status: sent.status,
    deltas: deltas.length,
    joined: deltas.map((e) => e.payload.deltaText).join(""),
    final: textOf(final.payload),
    abort,
    aborted: aborted.payload.stopReason,
    agent: agent.result?.payloads?.[0]?.text,
    users: history.messages.filter((m) => m.role === "user").length,
    refused,
    gaps,
    again,
  };
});
