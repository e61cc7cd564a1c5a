"""What a client of these tests does once it is connected: it prints the protocol's revision, then a line for each call's result."""

import json


async def make(client, calls):
    """Makes calls, each a tool and its arguments in JSON."""
    print(client.session.protocol_version, flush=True)
    for tool, arguments in zip(calls[::2], calls[1::2]):
        result = await client.call_tool(tool, json.loads(arguments))
        texts = [part.text for part in result.content]
        print(json.dumps({"failed": bool(result.is_error), "texts": texts}), flush=True)
