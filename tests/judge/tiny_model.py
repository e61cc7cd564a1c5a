#!/usr/bin/env python3
"""A real inference server with a tiny random-weight model, for testing the watcher's model client over the wire.

It is llama.cpp's own HTTP server (package `xllamacpp`), so status codes, JSON schema enforcement, log probabilities and
streaming are the real thing; the answers carry no meaning, so it tests the protocol and never the judgement.
Speaks POST /v1/chat/completions, /v1/responses, /v1/messages and GET /v1/models.

`tests/harness/tools-install` installs what it needs; `watcher/tests/judge/real.rs` starts it. Prints its address once it listens.

    <tools>/model/bin/python tiny_model.py --port 18998 [--api-key KEY]

Free-text string fields can run on until the token limit and then fail with 500: bound them with a `pattern`.
"""
import argparse
import os
import tempfile
import time


def write_model(path):
    """Writes a llama-architecture model of about 470 KB with a byte vocabulary, so that a token is a byte; the same bytes every time."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(7)
    embed, layers, heads, ff, context = 64, 2, 4, 128, 32768
    tokens = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{i:02X}>".encode() for i in range(256)]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("random")
    w.add_context_length(context)
    w.add_embedding_length(embed)
    w.add_block_count(layers)
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(embed // heads)
    w.add_vocab_size(len(tokens))
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * len(tokens))
    w.add_token_types(kinds)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)
    w.add_chat_template("{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant] ")

    def tensor(name, *shape):
        w.add_tensor(name, (rng.standard_normal(shape) * 0.05).astype(np.float32))

    tensor("token_embd.weight", len(tokens), embed)
    tensor("output.weight", len(tokens), embed)
    w.add_tensor("output_norm.weight", np.ones(embed, np.float32))
    for i in range(layers):
        block = f"blk.{i}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(block + name + ".weight", embed, embed)
        tensor(block + "ffn_gate.weight", ff, embed)
        tensor(block + "ffn_up.weight", ff, embed)
        tensor(block + "ffn_down.weight", embed, ff)
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(block + name + ".weight", np.ones(embed, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--port", type=int, default=18998)
    ap.add_argument("--api-key")
    args = ap.parse_args()
    import xllamacpp

    path = os.path.join(tempfile.mkdtemp(), "random.gguf")
    write_model(path)
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.hostnames, p.port = path, 2 * 32768, ["127.0.0.1"], args.port
    p.warmup, p.n_parallel, p.cpuparams.n_threads = False, 2, 1
    if args.api_key:
        p.api_keys = [args.api_key]
    server = xllamacpp.Server(p)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
