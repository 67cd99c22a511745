// The Vercel AI SDK with its provider for OpenAI-compatible servers.

import { load, report, within } from "./lib.mjs";

const [url, token] = process.argv.slice(2);
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible/dist/index.js");
const ai = await load("ai/dist/index.js");
const { z } = await load("zod/index.js");
const provider = createOpenAICompatible({
  name: "telson",
  baseURL: `${url.replace(/^ws/, "http")}/v1`,
  apiKey: token,
  includeUsage: true,
});
const model = provider("openclaw");

async function work() {
  const whole = await ai.generateText({ model, prompt: "one" });
  const streamed = ai.streamText({ model, prompt: "two" });
  let joined = "";
  for await (const piece of streamed.textStream) joined += piece;
  const seen = [];
  const tool = ai.tool({
    description: "The weather of a place.",
    inputSchema: z.object({ place: z.string() }),
    execute: async (input) => {
      seen.push(input);
      return "sunny";
    },
  });
  const called = await ai.generateText({
    model,
    prompt: "the weather in Delft?",
    tools: { get_weather: tool },
    stopWhen: ai.stepCountIs(3),
  });
  return {
    whole: whole.text,
    finish: whole.finishReason,
    joined,
    streamFinish: await streamed.finishReason,
    streamUsage: (await streamed.usage).totalTokens,
    called: called.text,
    seen,
  };
}

await report(() => within(work(), "the AI SDK", 60));
