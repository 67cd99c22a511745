// The official OpenAI SDK for JavaScript: chat completions, tools and responses, streaming and not.

import { load, report, within } from "./lib.mjs";

const [url, token] = process.argv.slice(2);
const { default: OpenAI } = await load("openai/index.mjs");
const client = new OpenAI({ baseURL: `${url.replace(/^ws/, "http")}/v1`, apiKey: token });
const model = "openclaw";
const words = (content) => [{ role: "user", content }];
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a place.",
    parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
  },
};

async function chat() {
  const whole = await client.chat.completions.create({ model, messages: words("one") });
  const stream = await client.chat.completions.create({
    model,
    messages: words("two"),
    stream: true,
    stream_options: { include_usage: true },
  });
  let joined = "";
  let finish = null;
  let usage = null;
  for await (const chunk of stream) {
    joined += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  const helper = client.chat.completions.stream({ model, messages: words("three") });
  const final = await helper.finalChatCompletion();
  return {
    whole: whole.choices[0].message.content,
    finish: whole.choices[0].finish_reason,
    usage: whole.usage,
    joined,
    streamFinish: finish,
    streamUsage: usage,
    helper: final.choices[0].message.content,
  };
}

async function tools() {
  const seen = [];
  const runner = client.chat.completions.runTools({
    model,
    user: "runner",
    stream: true,
    messages: words("the weather in Delft?"),
    tools: [
      {
        type: "function",
        function: {
          ...weather.function,
          parse: JSON.parse,
          function: (args) => {
            seen.push(args);
            return "sunny";
          },
        },
      },
    ],
  });
  return { answer: await runner.finalContent(), seen };
}

async function responses() {
  const whole = await client.responses.create({ model, input: "four" });
  const events = [];
  let joined = "";
  const stream = await client.responses.create({ model, input: "five", stream: true });
  for await (const event of stream) {
    events.push(event.type);
    if (event.type === "response.output_text.delta") joined += event.delta;
  }
  const helper = client.responses.stream({ model, input: "six" });
  const final = await helper.finalResponse();
  const flat = { type: "function", name: "get_weather", parameters: weather.function.parameters, strict: false };
  const called = await client.responses.create({ model, input: "the weather?", tools: [flat] });
  const call = called.output.find((item) => item.type === "function_call");
  const answered = await client.responses.create({
    model,
    previous_response_id: called.id,
    input: [{ type: "function_call_output", call_id: call.call_id, output: "sunny" }],
  });
  return {
    whole: whole.output_text,
    status: whole.status,
    events,
    joined,
    helper: final.output_text,
    call: { name: call.name, arguments: JSON.parse(call.arguments) },
    answered: answered.output_text,
  };
}

async function image() {
  const pixel =
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  const parts = [{ type: "text", text: "what is it?" }, { type: "image_url", image_url: { url: pixel } }];
  const chat = await client.chat.completions.create({ model, messages: [{ role: "user", content: parts }] });
  const input = [
    { role: "user", content: [{ type: "input_text", text: "and?" }, { type: "input_image", image_url: pixel, detail: "auto" }] },
  ];
  const response = await client.responses.create({ model, input });
  return { chat: chat.choices[0].message.content, response: response.output_text };
}

async function models() {
  const list = [];
  for await (const item of client.models.list()) list.push(item.id);
  return { list, one: (await client.models.retrieve("openclaw/default")).id };
}

async function failure(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, message: error.message };
  }
}

async function failures() {
  const ask = { model, messages: words("fail") };
  const wrong = new OpenAI({ baseURL: client.baseURL, apiKey: "wrong" });
  return {
    run: await failure(() => client.chat.completions.create(ask)),
    stream: await failure(async () => {
      for await (const _ of await client.chat.completions.create({ ...ask, stream: true }));
    }),
    model: await failure(() => client.chat.completions.create({ ...ask, model: "gpt-4o" })),
    key: await failure(() => wrong.chat.completions.create(ask)),
  };
}

async function leave() {
  const stream = await client.chat.completions.create({ model, messages: words("long"), stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content) break;
  }
  stream.controller.abort();
  return { left: true };
}

const parts = { chat, tools, responses, image, models, failures, leave };
await report(() => within(parts[process.argv[4]](), process.argv[4], 60));
