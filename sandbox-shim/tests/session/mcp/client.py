"""An MCP client of the Python SDK: `client.py <server> <how> <tool> <arguments>...`; prints the revision, then a line of JSON for each result.

How: `auto` (the newest revision), `legacy` (with a handshake and a session), `sse` (the transport of 2024): the server is a URL. `stdio`: the
server is a command line as a list in JSON.
"""

import asyncio
import json
import os
import sys

import httpx2
from calls import make
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client


async def main(server, how, *calls):
    # Longer than any test may take.
    patience = httpx2.Timeout(600)
    key = {"Authorization": "Bearer sesame"}
    async with httpx2.AsyncClient(headers=key, timeout=patience, trust_env=False) as http:
        if how == "sse":
            transport, mode = sse_client(server, headers=key, timeout=600), "legacy"
        elif how == "stdio":
            words = json.loads(server)
            transport, mode = StdioServerParameters(command=words[0], args=words[1:], env=dict(os.environ)), "auto"
        else:
            transport, mode = streamable_http_client(server, http_client=http), how
        async with Client(transport, mode=mode) as client:
            await make(client, calls)


asyncio.run(main(*sys.argv[1:]))
