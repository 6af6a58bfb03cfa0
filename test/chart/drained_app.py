"""An API of a few lines for uvicorn (`app`) and for gunicorn (`wsgi`): a POST is answered after as many seconds as its body says."""

import asyncio
import json
import os
import time

ANSWER = json.dumps({"model": {"name": os.environ["POD"]}}).encode()
HEADERS = [("content-type", "application/json"), ("content-length", str(len(ANSWER)))]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await asyncio.sleep(float((await receive()).get("body") or 0))
    headers = [(name.encode(), text.encode()) for name, text in HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def wsgi(environ, start_response):
    time.sleep(float(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or 0))
    start_response("200 OK", HEADERS)
    return [ANSWER]
