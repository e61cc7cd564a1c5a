#!/usr/bin/env python3
"""A scripted model server: answers a real coding agent with turns read from a scenario file.

It speaks the streaming form of three APIs, so that unmodified agents run against it offline:
  POST /v1/responses  (OpenAI Responses, server-sent events)      -> Codex CLI
  POST /v1/messages   (Anthropic Messages, server-sent events)    -> Claude Code
  POST /v1beta/models/<model>:streamGenerateContent (Gemini, server-sent events)  -> Gemini CLI

Scenario (JSON): {"turns": [[ITEM, ...], ...]}. Turn n answers the n-th request of the conversation; after
the last turn every request is answered with a closing message. ITEM is one of
  {"say": "text"}
  {"call": {"name": "tool name", "arguments": {...}}}
  {"custom": {"name": "tool name", "input": "text"}}      a freeform tool of the Responses API, such as apply_patch
  {"think": "text"}                                       a thought; Gemini only
Requests that carry no tools (titles, topic checks) are answered with a short text and use up no turn.
Each request body is appended to --record FILE, one JSON document per line.
"""
import argparse, json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()
STATE = {"turn": 0, "n": 0}


def next_turn(scenario):
    with LOCK:
        n = STATE["turn"]
        STATE["turn"] += 1
    turns = scenario["turns"]
    return turns[n] if n < len(turns) else [{"say": "Done."}]


def uid(prefix):
    with LOCK:
        STATE["n"] += 1
        return f"{prefix}_{STATE['n']:08d}"


def gemini_answer(parts):
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
            "modelVersion": "scripted"}


def gemini_word(request):
    """An answer that fits what is asked for beside the conversation: JSON by its schema, or a short text."""
    schema = request.get("generationConfig", {}).get("responseJsonSchema")
    if not schema:
        return "ok"
    plain = {"string": "ok", "number": 1, "integer": 1, "boolean": True, "array": [], "object": {}}
    fields = schema.get("properties", {})
    return json.dumps({name: (field.get("enum") or [plain.get(field.get("type"))])[0] for name, field in fields.items()})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scenario = {"turns": []}
    record = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self):
        self.reply_json({"data": [{"id": "scripted", "object": "model"}], "models": []})

    def reply_json(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def event(self, kind, value):
        self.wfile.write(f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            request = json.loads(raw or b"{}")
        except ValueError:
            request = {}
        if self.record:
            with LOCK, open(self.record, "a") as f:
                f.write(json.dumps({"path": self.path, "body": request}) + "\n")
        path = self.path.split("?")[0]
        if path.endswith(":generateContent"):
            return self.reply_json(gemini_answer([{"text": gemini_word(request)}]))
        if path.endswith(":countTokens"):
            return self.reply_json({"totalTokens": 10})
        if path.endswith("/count_tokens"):
            return self.reply_json({"input_tokens": 10})
        streams = {"/responses": self.stream_responses, "/messages": self.stream_messages,
                   ":streamGenerateContent": self.stream_gemini}
        stream = next((streams[end] for end in streams if path.endswith(end)), None)
        if stream is None:
            return self.reply_json({})
        items = next_turn(self.scenario) if request.get("tools") else [{"say": "ok"}]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        stream(items, request)
        self.close_connection = True

    def stream_responses(self, items, request):
        rid = uid("resp")
        self.event("response.created", {"type": "response.created", "response": {"id": rid}})
        for i, item in enumerate(items):
            if "say" in item:
                out = {"type": "message", "id": uid("msg"), "role": "assistant",
                       "content": [{"type": "output_text", "text": item["say"], "annotations": []}]}
            elif "custom" in item:
                out = {"type": "custom_tool_call", "id": uid("ctc"), "call_id": uid("call"), "status": "completed",
                       "name": item["custom"]["name"], "input": item["custom"]["input"]}
            else:
                call = item["call"]
                out = {"type": "function_call", "id": uid("fc"), "call_id": uid("call"), "name": call["name"],
                       "arguments": json.dumps(call["arguments"])}
            self.event("response.output_item.done", {"type": "response.output_item.done", "output_index": i, "item": out})
        self.event("response.completed", {"type": "response.completed", "response": {
            "id": rid, "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
                                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}}})

    def stream_gemini(self, items, request):
        part = {"say": lambda v: {"text": v}, "think": lambda v: {"text": v, "thought": True},
                "call": lambda v: {"functionCall": {"id": uid("call"), "name": v["name"], "args": v["arguments"]}}}
        parts = [part[kind](value) for item in items for kind, value in item.items()]
        self.wfile.write(f"data: {json.dumps(gemini_answer(parts))}\n\n".encode())
        self.wfile.flush()

    def stream_messages(self, items, request):
        self.event("message_start", {"type": "message_start", "message": {
            "id": uid("msg"), "type": "message", "role": "assistant", "model": request.get("model", "scripted"),
            "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1}}})
        stop = "end_turn"
        for i, item in enumerate(items):
            if "say" in item:
                start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": item["say"]}
            else:
                stop, call = "tool_use", item["call"]
                start = {"type": "tool_use", "id": uid("toolu"), "name": call["name"], "input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(call["arguments"])}
            self.event("content_block_start", {"type": "content_block_start", "index": i, "content_block": start})
            self.event("content_block_delta", {"type": "content_block_delta", "index": i, "delta": delta})
            self.event("content_block_stop", {"type": "content_block_stop", "index": i})
        self.event("message_delta", {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None},
                                     "usage": {"output_tokens": 5}})
        self.event("message_stop", {"type": "message_stop"})


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("scenario")
    ap.add_argument("--port", type=int, default=0, help="0 picks a free port; the port is printed on the first line")
    ap.add_argument("--record", help="append every request body to this file")
    args = ap.parse_args()
    with open(args.scenario) as f:
        Handler.scenario = json.load(f)
    Handler.record = args.record
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
