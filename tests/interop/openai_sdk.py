"""The official OpenAI SDK for Python: chat completions, tools and responses, streaming and not."""

import json
import sys

import openai
from openai import OpenAI

url, token, part = sys.argv[1:4]
base = url.replace("ws", "http", 1) + "/v1"
client = OpenAI(base_url=base, api_key=token)
MODEL = "openclaw"
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": PLACE}}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def words(content):
    return [{"role": "user", "content": content}]


def chat():
    whole = client.chat.completions.create(model=MODEL, messages=words("one"))
    joined, finish, usage = "", None, None
    for chunk in client.chat.completions.create(
        model=MODEL, messages=words("two"), stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            joined += choice.delta.content or ""
            finish = choice.finish_reason or finish
    with client.chat.completions.stream(model=MODEL, messages=words("three")) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    return {
        "whole": whole.choices[0].message.content,
        "finish": whole.choices[0].finish_reason,
        "usage": whole.usage.model_dump(),
        "joined": joined,
        "streamFinish": finish,
        "streamUsage": usage.model_dump() if usage else None,
        "helper": final.choices[0].message.content,
    }


def tools():
    messages = words("the weather in Delft?")
    seen = []
    while True:
        answer = client.chat.completions.create(model=MODEL, user="loop", messages=messages, tools=[WEATHER])
        message = answer.choices[0].message
        if not message.tool_calls:
            return {"answer": message.content, "seen": seen}
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            seen.append(json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})


def responses():
    whole = client.responses.create(model=MODEL, input="four")
    events, joined = [], ""
    for event in client.responses.create(model=MODEL, input="five", stream=True):
        events.append(event.type)
        if event.type == "response.output_text.delta":
            joined += event.delta
    with client.responses.stream(model=MODEL, input="six") as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    flat = {"type": "function", "name": "get_weather", "parameters": PLACE, "strict": False}
    called = client.responses.create(model=MODEL, input="the weather?", tools=[flat])
    call = next(item for item in called.output if item.type == "function_call")
    answered = client.responses.create(
        model=MODEL,
        previous_response_id=called.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
    )
    return {
        "whole": whole.output_text,
        "status": whole.status,
        "events": events,
        "joined": joined,
        "helper": final.output_text,
        "call": {"name": call.name, "arguments": json.loads(call.arguments)},
        "answered": answered.output_text,
    }


def image():
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    told = client.chat.completions.create(model=MODEL, messages=words(parts))
    content = [{"type": "input_text", "text": "and?"}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}]
    response = client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])
    return {"chat": told.choices[0].message.content, "response": response.output_text}


def models():
    return {"list": [item.id for item in client.models.list()], "one": client.models.retrieve("openclaw/default").id}


def failure(work):
    try:
        work()
        return None
    except openai.APIError as error:
        return {"name": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)}


def failures():
    ask = {"model": MODEL, "messages": words("fail")}
    wrong = OpenAI(base_url=base, api_key="wrong")
    return {
        "run": failure(lambda: client.chat.completions.create(**ask)),
        "stream": failure(lambda: list(client.chat.completions.create(**ask, stream=True))),
        "model": failure(lambda: client.chat.completions.create(**{**ask, "model": "gpt-4o"})),
        "key": failure(lambda: wrong.chat.completions.create(**ask)),
    }


def leave():
    stream = client.chat.completions.create(model=MODEL, messages=words("long"), stream=True)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()
    return {"left": True}


def real():
    """A model that really runs: whole and streamed answers of a few tokens."""
    whole = client.chat.completions.create(model=MODEL, messages=words("say something"), max_tokens=12)
    pieces = []
    for chunk in client.chat.completions.create(
        model=MODEL, messages=words("say more"), max_tokens=24, stream=True, stream_options={"include_usage": True}
    ):
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage
    return {
        "whole": whole.choices[0].message.content,
        "finish": whole.choices[0].finish_reason,
        "tokens": whole.usage.completion_tokens,
        "pieces": len(pieces),
        "streamTokens": usage.completion_tokens,
    }


print(json.dumps(globals()[part]()))
