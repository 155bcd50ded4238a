"""An OpenAI-compatible server that fails on purpose, run as a process of its own.

It reads the report of a request in its own way, so that every report has one right answer. A share
of the requests, drawn by chance, meets a fault: a time-out, 429, 500, broken JSON, an answer that
is no JSON, a connection cut in mid-answer. Now and then the process dies and comes back.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import time

from aiohttp import web

FAULTS = ("time-out", "429", "500", "body", "content", "cut")
SECONDS_OF_A_TIMEOUT = 30.0
_RESTART = 17


def answer(report: str) -> dict:
    """By the words that the tests write: see `test_server`."""
    region = {
        "quote": "",
        "status": "not_mentioned",
        "fracture_type": None,
        "displacement": None,
        "angulation_degrees": [],
        "angulation_direction": None,
        "healing": None,
    }
    found = re.search(r"(\w+) fracture of the (distal radius|distal ulna)", report)
    regions = {name: dict(region) for name in ("distal_radius", "distal_ulna", "ulnar_styloid")}
    if found:
        regions[found[2].replace(" ", "_")] |= {"quote": found[0], "status": "fracture"}
        if found[1] == "invented":
            regions["distal_radius"] |= {"quote": "words of another report", "status": "fracture"}
    elif "ignore the above" in report:
        quote = re.search(r"ignore the above[^.]*", report)
        assert quote is not None
        for entry in regions.values():
            entry |= {"quote": quote[0], "status": "no_fracture"}
    wrist = {
        "laterality": "left" if "Left" in report else "right",
        "views": [],
        "regions": regions,
        "other_fractures": [],
        "cast": None,
        "hardware": None,
        "osteopenia": None,
        "soft_tissue_swelling": None,
        "physis": None,
    }
    return {"refused": "no", "wrists": [wrist]}


class Server:
    def __init__(self, options: argparse.Namespace):
        self._options = options
        self._chance = random.Random(os.getpid())
        self._asked = 0

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        report = body["messages"][-1]["content"]
        self._asked += 1
        self._note(report)
        if self._options.restart_after and self._asked >= self._options.restart_after:
            os._exit(_RESTART)
        status = self._refusal(report, body.get("response_format", {}).get("type", "none"))
        if status:
            return web.json_response({"error": report}, status=status)
        if self._chance.random() < self._options.faults:
            return await self._fail(request, self._chance.choice(FAULTS))
        content = json.dumps(answer(report))
        if "endless" in report:
            return web.json_response(completion(content[:50], "length"))
        return web.json_response(completion(content))

    def _refusal(self, report: str, spelling: str) -> int:
        """Status of what is never answered, or 0."""
        if self._options.always:
            return self._options.always
        if self._options.only and spelling != self._options.only:
            return 500
        return 500 if "poison" in report else 400 if "unreadable" in report else 0

    async def _fail(self, request: web.Request, fault: str) -> web.StreamResponse:
        if fault == "time-out":
            await asyncio.sleep(SECONDS_OF_A_TIMEOUT)
        if fault == "429":
            headers = {"Retry-After": "0.05"}
            return web.json_response({"error": "busy"}, status=429, headers=headers)
        if fault == "body":
            return web.Response(text='{"choices": [', content_type="application/json")
        if fault == "content":
            return web.json_response(completion("I am sorry, but"))
        if fault == "cut":
            response = web.StreamResponse(headers={"Content-Length": "5000"})
            await response.prepare(request)
            await response.write(b'{"choices": [{"mess')
            assert request.transport is not None
            request.transport.abort()
            return response
        return web.json_response({"error": "fault"}, status=500)

    def _note(self, report: str) -> None:
        found = re.search(r"Film (\d+)", report)
        if self._options.log and found:
            with open(self._options.log, "a") as file:
                file.write(f"{found[1]}\n")


def completion(content: str, finish_reason: str = "stop") -> dict:
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def serve(options: argparse.Namespace) -> None:
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/v1/chat/completions", Server(options).complete)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--restart_after", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--always", type=int, default=0)
    parser.add_argument("--log", default="")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    while True:
        process = context.Process(target=serve, args=(options,), daemon=True)
        process.start()
        process.join()
        if process.exitcode != _RESTART:
            break
        time.sleep(0.5)


if __name__ == "__main__":
    main()
