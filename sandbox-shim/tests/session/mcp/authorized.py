"""An MCP client of the Python SDK that has to ask for a token: `authorized.py <server> <way back> <tool> <arguments>...`; prints what
`client.py` does. It is its own browser, and sends nothing but to the server that it was given.
"""

import asyncio
import sys
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from calls import make
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata


class Storage:
    tokens = client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


async def main(server, way_back, *calls):
    patience = httpx2.Timeout(600)
    arrived = []

    async def browse(url):
        async with httpx2.AsyncClient(timeout=patience, trust_env=False) as browser:
            while not url.startswith(way_back):
                answer = await browser.get(url)
                assert answer.status_code == 302, answer.text
                url = urljoin(url, answer.headers["location"])
        arrived.append({name: values[0] for name, values in parse_qs(urlsplit(url).query).items()})

    async def arrive():
        answer = arrived.pop()
        assert answer.pop("mine", "1") == "1", answer
        return AuthorizationCodeResult(**answer)

    async def stays(request):
        assert str(request.url).startswith(server.removesuffix("/mcp") + "/"), request.url

    metadata = OAuthClientMetadata(client_name="test", redirect_uris=[way_back])
    auth = OAuthClientProvider(server, metadata, Storage(), browse, arrive)
    hooks = {"request": [stays]}
    async with httpx2.AsyncClient(auth=auth, timeout=patience, trust_env=False, event_hooks=hooks) as http:
        async with Client(streamable_http_client(server, http_client=http), mode="auto") as client:
            await make(client, calls)


asyncio.run(main(*sys.argv[1:]))
