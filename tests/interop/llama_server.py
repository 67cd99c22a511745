"""llama.cpp's own server with a model that this script makes: two layers of random weights.

It says nothing sensible, but it says it token by token. Prints its address; ends with its standard input.
"""

import json
import random
import struct
import sys
import tempfile

import xllamacpp

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 4096
LETTERS = "▁abcdefghijklmnopqrstuvwxyz.,!?"
UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1
U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def number(value):
    return struct.pack("<II", U32, value)


def real(value):
    return struct.pack("<If", F32, value)


def string(value):
    return struct.pack("<I", STRING) + text(value)


def array(kind, items):
    return struct.pack("<IIQ", ARRAY, kind, len(items)) + b"".join(items)


def vocabulary():
    words = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + list(LETTERS)
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(LETTERS)
    scores = [0.0] * 259 + [-float(place) for place in range(len(LETTERS))]
    return words, kinds, scores


def tensors(rows):
    dice = random.Random(7)

    def noise(count):
        return [dice.gauss(0, 0.5) for _ in range(count)]

    ones = [1.0] * WIDTH
    yield "token_embd.weight", (WIDTH, rows), noise(WIDTH * rows)
    yield "output_norm.weight", (WIDTH,), ones
    # Only letters are ever likely: the rows of all other tokens are zero.
    yield "output.weight", (WIDTH, rows), [0.0] * (WIDTH * 259) + noise(WIDTH * (rows - 259))
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        yield name + "attn_norm.weight", (WIDTH,), ones
        yield name + "ffn_norm.weight", (WIDTH,), ones
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"{name}{part}.weight", (WIDTH, WIDTH), noise(WIDTH * WIDTH)
        yield name + "ffn_gate.weight", (WIDTH, INNER), noise(WIDTH * INNER)
        yield name + "ffn_up.weight", (WIDTH, INNER), noise(WIDTH * INNER)
        yield name + "ffn_down.weight", (INNER, WIDTH), noise(WIDTH * INNER)


def write(path):
    """GGUF version 3: header, key-value pairs, tensor infos, then the data aligned to 32 bytes."""
    words, kinds, scores = vocabulary()
    facts = {
        "general.architecture": string("llama"),
        "general.name": string("tiny"),
        "llama.context_length": number(CONTEXT),
        "llama.embedding_length": number(WIDTH),
        "llama.block_count": number(LAYERS),
        "llama.feed_forward_length": number(INNER),
        "llama.attention.head_count": number(HEADS),
        "llama.attention.head_count_kv": number(HEADS),
        "llama.attention.layer_norm_rms_epsilon": real(1e-5),
        "llama.rope.dimension_count": number(WIDTH // HEADS),
        "llama.vocab_size": number(len(words)),
        "tokenizer.ggml.model": string("llama"),
        "tokenizer.ggml.tokens": array(STRING, [text(word) for word in words]),
        "tokenizer.ggml.scores": array(F32, [struct.pack("<f", score) for score in scores]),
        "tokenizer.ggml.token_type": array(I32, [struct.pack("<i", kind) for kind in kinds]),
        "tokenizer.ggml.bos_token_id": number(1),
        "tokenizer.ggml.eos_token_id": number(2),
        "tokenizer.ggml.unknown_token_id": number(0),
    }
    parts = list(tensors(len(words)))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(parts), len(facts))
    head += b"".join(text(key) + value for key, value in facts.items())
    data = b""
    for name, shape, values in parts:
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", size) for size in shape)
        head += struct.pack("<IQ", 0, len(data))
        data += struct.pack(f"<{len(values)}f", *values)
        data += b"\0" * (-len(data) % 32)
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % 32) + data)


with tempfile.TemporaryDirectory() as folder:
    write(f"{folder}/tiny.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = f"{folder}/tiny.gguf"
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    print(json.dumps({"url": server.listening_address}), flush=True)
    sys.stdin.read()
