"""An authorization server of the Python SDK, in memory, which says yes to everybody; what must stay secret it writes to a file `secrets`.

A token expires for the client as soon as it has it, so that the next request refreshes it; one that was refreshed lasts.
"""

import secrets
import threading
from urllib.parse import parse_qsl

import uvicorn
from mcp.server.auth import routes
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    OAuthAuthorizationServerProvider,
    ProviderTokenVerifier,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthToken
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

# It knows 127.0.0.1 for loopback, and no other address of it.
routes.validate_issuer_url = lambda url: None

SECRET = {"code", "code_verifier", "client_secret", "refresh_token", "state"}


def keep(secret):
    with open("secrets", "a") as file:
        file.write(f"{secret}\n")


class Provider(OAuthAuthorizationServerProvider):
    def __init__(self, says_who):
        self.says_who = says_who
        self.clients, self.codes, self.tokens, self.renewals = {}, {}, {}, {}

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client_info):
        self.clients[client_info.client_id] = client_info
        keep(client_info.client_secret)

    async def authorize(self, client, params):
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code,
            client_id=client.client_id,
            expires_at=2**40,
            scopes=params.scopes or [],
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        who = {"iss": self.says_who} if self.says_who else {}
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state, **who)

    async def load_authorization_code(self, client, authorization_code):
        return self.codes.get(authorization_code)

    def grant(self, client, scopes, resource, lasts):
        token, renewal = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        keep(token)
        keep(renewal)
        self.tokens[token] = AccessToken(token=token, client_id=client.client_id, scopes=scopes, resource=resource)
        self.renewals[renewal] = RefreshToken(token=renewal, client_id=client.client_id, scopes=scopes), resource
        return OAuthToken(access_token=token, refresh_token=renewal, expires_in=lasts, scope=" ".join(scopes))

    async def exchange_authorization_code(self, client, authorization_code):
        del self.codes[authorization_code.code]
        return self.grant(client, authorization_code.scopes, authorization_code.resource, 0)

    async def load_refresh_token(self, client, refresh_token):
        return self.renewals[refresh_token][0]

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        self.tokens.clear()
        _, resource = self.renewals.pop(refresh_token.token)
        return self.grant(client, scopes, resource, 3600)

    async def load_access_token(self, token):
        return self.tokens.get(token)

    async def revoke_token(self, token):
        raise NotImplementedError


class Overheard:
    """What it is asked that must stay secret, and what a token is asked for."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def hear():
            message = await receive()
            for name, value in parse_qsl(message.get("body", b"").decode()):
                if name in SECRET:
                    keep(value)
                if name in ("grant_type", "resource"):
                    with open("asked", "a") as file:
                        file.write(f"{name} {value}\n")
            return message

        await self.app(scope, hear, send)


def guard(host, port, path, says_who):
    """Serves one for a server at this address, and gives what the server has to know of it. `path` is the end of its URL."""
    issuer, resource = f"http://{host}:{port + 100}{path}", f"http://{host}:{port}/mcp"
    provider = Provider(issuer if says_who else None)
    clients = ClientRegistrationOptions(enabled=True, valid_scopes=["use"], default_scopes=["use"])
    settings = AuthSettings(
        issuer_url=issuer,
        resource_server_url=resource,
        required_scopes=["use"],
        client_registration_options=clients,
        validate_token_resource=True,
    )
    metadata = routes.build_metadata(settings.issuer_url, None, clients, RevocationOptions())
    metadata = metadata.model_dump(mode="json", exclude_none=True)
    if says_who:
        metadata["authorization_response_iss_parameter_supported"] = True
    served = [
        Route(f"/.well-known/oauth-authorization-server{path}", lambda request: JSONResponse(metadata)),
        Mount(path, routes=routes.create_auth_routes(provider, settings.issuer_url, None, clients)[1:]),
    ]
    app = Overheard(Starlette(routes=served))
    threading.Thread(target=lambda: uvicorn.run(app, host=host, port=port + 100), daemon=True).start()
    return {"auth": settings, "token_verifier": ProviderTokenVerifier(provider)}
