"""An MCP server of the Python SDK: `server.py [<transport> <host> <port>]`, until there is a file `done`. Over HTTP it keeps its events, so
that a cut stream can be taken up again. `guarded` is streamable HTTP for who has a token, `guarded-iss` the same with an issuer that says
who it is and whose URL has a path.
"""

import os
import socket
import sys
import threading
import time

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage, EventStore


class Kept(EventStore):
    """Every event of every stream, by its place."""

    def __init__(self):
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send_callback):
        stream = self.events[int(last_event_id) - 1][0]
        for place, (of, message) in enumerate(self.events[int(last_event_id) :], int(last_event_id) + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream


transport, host, port = sys.argv[1:4] if len(sys.argv) > 1 else ("stdio", None, None)
guard = {}
if transport.startswith("guarded"):
    sys.dont_write_bytecode = True
    import issuer

    says_who = transport == "guarded-iss"
    guard = issuer.guard(host, int(port), "/realm" if says_who else "", says_who)
server = MCPServer("reader", **guard)


@server.tool()
def read(path: str) -> str:
    """Reads a file."""
    with open(path) as file:
        return file.read()


@server.tool()
def leave(host: str, port: int) -> str:
    """Tries to reach somebody."""
    try:
        with socket.create_connection((host, port), timeout=600) as met:
            # A connect that was turned to the relay is there at once, and is cut when it may not go.
            met.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return "left" if met.recv(1) else "no way out"
    except OSError:
        return "no way out"


@server.tool()
async def slowly(ctx: Context) -> str:
    """Answers after the stream has been cut."""
    await ctx.close_sse_stream()
    await anyio.sleep(0.2)
    return "after the cut"


def end_when_done():
    while not os.path.exists("done"):
        time.sleep(0.05)
    os._exit(0)


if transport == "stdio":
    server.run()
    sys.exit()
threading.Thread(target=end_when_done, daemon=True).start()
if transport == "sse":
    server.run("sse", host=host, port=int(port))
else:
    server.run("streamable-http", host=host, port=int(port), event_store=Kept(), retry_interval=100)
