"""The miner that asks an OpenAI-compatible server, such as that of vLLM.

One asynchronous client keeps a bounded number of requests on their way, which saturates a served
cluster. Protocol: `POST /chat/completions` of the OpenAI API, with the JSON schema as
`response_format`.
"""

import asyncio
import collections
import dataclasses
import json
import logging
import random
import time
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import tenacity

from wristmir_jax.errors import UserError
from wristmir_jax.reports.language_models import prompt
from wristmir_jax.reports.language_models.replies import (
    BROKEN,
    CUT_OFF,
    SCHEMA,
    mined_from,
)
from wristmir_jax.reports.mining import Mined, Rejection, Report

_log = logging.getLogger(__name__)

# Spellings of `response_format` in use: OpenAI's own, which vLLM has too; llama-cpp-python's; and
# none, for servers that cannot decode by a schema.
RESPONSE_FORMATS: dict[str, dict[str, Any]] = {
    "json_schema": {
        "type": "json_schema",
        "json_schema": {"name": "findings", "schema": SCHEMA, "strict": True},
    },
    "json_object": {"type": "json_object", "schema": SCHEMA},
    "none": {},
}
# Tried in this order where none is told.
_PROBED = ("json_schema", "json_object")

REFUSED = "the server refused the report: status {}"
NO_ANSWER = "the server gave no usable answer in {} attempts"

# What a server, or a proxy before it, says when it is busy or away: no fault of the report.
_BUSY = frozenset({429, 502, 503, 504})
_FAULTY = frozenset({408, 409, 425})
# What no other report would change; 403 and 404 only where nothing has been answered yet.
_OURS = {
    401: "--api_key_variable",
    402: "the account of --api_key_variable",
    403: "--api_key_variable",
    404: "--server and --model",
    405: "--server",
}
_AT_FIRST = frozenset({403, 404})
# Refusals before the first answer that are taken for a fault of the settings.
_REFUSALS = 20
_LONGEST_PAUSE = 30.0
_LONGEST_RETRY_AFTER = 600.0
# Answers are handed on, and so kept, at least as often.
_SECONDS_A_BATCH = 1.0
_LARGEST_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Server:
    """An OpenAI-compatible server, and how it is to be asked.

    Attributes:
        url: that `/chat/completions` hangs on, such as http://host:8000/v1.
        model: by the name that it is served under.
        response_format: a key of `RESPONSE_FORMATS`.
        api_key: empty where it asks for none.
        concurrency: most requests on their way.
        requests_per_minute: most that may begin; 0 = as many as there can be.
        max_tokens: of an answer.
        timeout: seconds that an answer may take.
        attempts: times that a report is asked before it is set aside.
        patience: seconds without any answer after which the run stops.
    """

    url: str
    model: str
    response_format: str = "json_schema"
    api_key: str = dataclasses.field(default="", repr=False)
    concurrency: int = 64
    requests_per_minute: float = 0
    max_tokens: int = 2048
    timeout: float = 300.0
    attempts: int = 6
    patience: float = 900.0


class _FaultyAnswerError(Exception):
    """An attempt that failed, and may go well the next time."""


class _AwayError(Exception):
    """The server is not to be reached, or wants to be left alone for some seconds."""

    def __init__(self, what: str, seconds: float | None = None):
        super().__init__(what)
        self.seconds = seconds


class _Gate:
    """Holds all requests back while the server is away, and keeps to the rate that it allows."""

    def __init__(self, server: Server):
        self._server = server
        self._interval = 60.0 / server.requests_per_minute if server.requests_per_minute else 0.0
        self._next = self._open_at = 0.0
        self._last_answer = time.monotonic()
        self._pauses = 0

    async def passed(self) -> None:
        """Waits for the turn of one request."""
        # Whoever waited takes a turn anew, so that a pause is not followed by a burst.
        while (wait := max(self._next, self._open_at) - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._next = time.monotonic() + self._interval

    def answered(self) -> None:
        self._last_answer = time.monotonic()
        self._pauses = 0

    def check(self, reason: Exception) -> None:
        """Whether it is worth while to ask on.

        Raises:
            UserError: there was no answer for longer than the patience lasts.
        """
        if time.monotonic() - self._last_answer > self._server.patience:
            raise UserError(
                f"--server={_shown(self._server.url)} gave no answer for "
                f"{self._server.patience:.0f} s ({reason}): see to it and run the same command "
                "again, which goes on from here"
            ) from None

    def close(self, reason: _AwayError) -> None:
        """Hold requests back, for as long as the server asks or else longer each time.

        Raises:
            UserError: as of `check`.
        """
        self.check(reason)
        now = time.monotonic()
        if now < self._open_at:
            return
        if self._pauses == _PAUSES_UNTOLD:
            url, patience = _shown(self._server.url), self._server.patience
            _log.warning("--server=%s: %s; asking on for %.0f s", url, reason, patience)
        pause = min(_LONGEST_PAUSE, 0.25 * 2.0**self._pauses) * random.uniform(0.5, 1.0)
        self._pauses += 1
        self._open_at = now + (pause if reason.seconds is None else reason.seconds)


# A server that is only busy asks for a pause or two.
_PAUSES_UNTOLD = 3


def _shown(url: str) -> str:
    """An address without a user's name and password."""
    return urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()


class _Client:
    """Asks one server.

    Attributes:
        faults: how often each kind was met.
        refusal: what the server said when it last refused something, shortened. It may hold words
            of the report: only for reports of our own.
    """

    def __init__(self, server: Server, session: aiohttp.ClientSession):
        self._server, self._session = server, session
        self.concurrency = server.concurrency
        self._gate = _Gate(server)
        self.faults: collections.Counter[str] = collections.Counter()
        self.refusal = ""
        self._answered = self._refused = 0

    @classmethod
    async def connected(cls, server: Server) -> Self:
        headers = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
        session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=server.timeout),
            connector=aiohttp.TCPConnector(limit=server.concurrency),
        )
        return cls(server, session)

    async def close(self) -> None:
        await self._session.close()

    async def mined(self, report: Report) -> list[Mined] | Rejection:
        """The answer to one report, asked again after faults.

        Raises:
            UserError: the server cannot be used at all.
        """
        server = self._server
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_FaultyAnswerError),
            stop=tenacity.stop_after_attempt(server.attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE),
            reraise=True,
        )
        try:
            return await retrying(self._attempt, report)
        except _FaultyAnswerError:
            return Rejection(report.exam_id, NO_ANSWER.format(server.attempts), again=True)

    async def _attempt(self, report: Report) -> list[Mined] | Rejection:
        server = self._server
        body = {
            "model": server.model,
            "messages": prompt.messages(report),
            "temperature": 0,
            "max_tokens": server.max_tokens,
        }
        if server.response_format != "none":
            body["response_format"] = RESPONSE_FORMATS[server.response_format]
        try:
            status, answer = await self._posted(body)
            if status != 200:
                self._refuse(status)
                return Rejection(report.exam_id, REFUSED.format(status), again=True)
            content = _content(answer)
        except _FaultyAnswerError as fault:
            self.faults[str(fault)] += 1
            self._gate.check(fault)
            raise
        self._answered += 1
        if content is None:
            return Rejection(report.exam_id, CUT_OFF.format(server.max_tokens), again=True)
        mined = mined_from(content, report)
        if isinstance(mined, Rejection) and mined.reason == BROKEN:
            self.faults["broken JSON"] += 1
            raise _FaultyAnswerError("broken JSON")
        return mined

    def _refuse(self, status: int) -> None:
        """Count a refusal.

        Raises:
            UserError: it is not the report that is refused.
        """
        self._refused += 1
        ours = status in _OURS and not (status in _AT_FIRST and self._answered)
        what = _OURS.get(status, "--server, --model, --max_tokens and --response_format")
        if ours or (not self._answered and self._refused >= _REFUSALS) or status < 400:
            raise UserError(
                f"--server={_shown(self._server.url)} answers with status {status}: check {what}"
            )

    async def _posted(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and content of an answer; waits while the server is away."""
        begin = time.monotonic()
        while True:
            await self._gate.passed()
            try:
                found = await self._post_once(body)
            except _AwayError as away:
                self.faults[str(away)] += 1
                self._gate.close(away)
                if time.monotonic() - begin > self._server.patience:
                    # Others are answered meanwhile: it is this one that the server shuns.
                    raise _FaultyAnswerError(str(away)) from None
                continue
            if found[0] == 200:
                self._gate.answered()
            return found

    async def _post_once(self, body: dict[str, Any]) -> tuple[int, Any]:
        server = self._server
        url = f"{server.url.rstrip('/')}/chat/completions"
        try:
            # A redirect could carry reports to another host.
            async with self._session.post(url, json=body, allow_redirects=False) as response:
                status = response.status
                if status == 200:
                    return status, await response.json(content_type=None)
                self.refusal = f"status {status}: {(await response.text())[:_SHOWN]}"
                if status in _BUSY:
                    raise _AwayError(f"status {status}", _seconds(response.headers))
                if status in _FAULTY or status >= 500:
                    raise _FaultyAnswerError(f"status {status}")
                return status, None
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError):
            raise _AwayError("no connection") from None
        except aiohttp.ClientOSError:
            raise _AwayError("connection cut") from None
        except TimeoutError:
            raise _FaultyAnswerError("time-out") from None
        except (aiohttp.ClientError, ConnectionError):
            raise _FaultyAnswerError("connection cut") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise _FaultyAnswerError("broken JSON") from None


# Characters of what a server says to our own example.
_SHOWN = 200


def _seconds(headers: Any) -> float | None:
    """Of `Retry-After` (RFC 9110, section 10.2.3), where it is a number."""
    try:
        return min(_LONGEST_RETRY_AFTER, max(0.0, float(headers["Retry-After"])))
    except (KeyError, ValueError):
        return None


def _content(answer: Any) -> str | None:
    """What the model wrote, or None where it was cut off.

    Raises:
        _FaultyAnswerError: this is no answer of the protocol.
    """
    try:
        choice = answer["choices"][0]
        if choice.get("finish_reason") == "length":
            return None
        content = choice["message"]["content"]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _FaultyAnswerError("broken JSON") from None
    if not isinstance(content, str):
        raise _FaultyAnswerError("broken JSON")
    return content


def identity(server: Server, revision: str = "") -> str:
    """What answers depend on besides the report."""
    name = f"{server.model}@{revision}" if revision else server.model
    return f"openai {name} prompt {prompt.version()}"


def in_batches(
    batches: Iterator[list[Report]], server: Server
) -> Iterator[list[tuple[Report, list[Mined] | Rejection]]]:
    """Ask for all reports, and hand answers on as they come.

    Raises:
        UserError: the server cannot be used at all, or is away for too long.
    """
    reports = (report for batch in batches for report in batch)
    with asyncio.Runner() as runner:
        client = runner.run(_Client.connected(server))
        asking = runner.run(_started(client, reports))
        try:
            while answered := runner.run(asking.for_a_moment()):
                yield answered
        finally:
            runner.run(asking.stop())
            runner.run(client.close())
            if client.faults:
                told = ", ".join(f"{count} {kind}" for kind, count in client.faults.most_common())
                _log.warning("faults of the server: %s", told)


def probed(server: Server) -> Server:
    """The server with the spelling of `response_format` that it understands.

    Raises:
        UserError: it understands none, or cannot be used at all.
    """
    text, _ = prompt.examples()[0]

    async def answer_and_refusal(candidate: Server) -> tuple[list[Mined] | Rejection, str]:
        client = await _Client.connected(candidate)
        try:
            return await client.mined(Report("", text)), client.refusal
        finally:
            await client.close()

    refusal = ""
    for spelling in _PROBED:
        candidate = dataclasses.replace(server, response_format=spelling)
        trial = dataclasses.replace(candidate, attempts=min(server.attempts, _TRIALS))
        answer, refusal = asyncio.run(answer_and_refusal(trial))
        # A poor answer is one by the schema all the same.
        if not isinstance(answer, Rejection) or not answer.again:
            return candidate
    said = f" ({' '.join(refusal.split())})" if refusal else ""
    raise UserError(
        f"--server={_shown(server.url)} gives no answer by a JSON schema{said}: start it with "
        "structured output and room for the prompt, or set --response_format=none and have "
        "answers that are not of the schema set aside"
    )


# Times that a spelling is tried: a server may have a fault of its own just then.
_TRIALS = 4


class _Asking:
    """Requests on their way, and what has come back of them."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[tuple[Report, list[Mined] | Rejection] | Exception | None]
        self._answers = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._at_work = 0
        self._failure: Exception | None = None

    def start(self, client: _Client, reports: Iterator[Report], concurrency: int) -> None:
        self._at_work = concurrency
        self._tasks = [asyncio.create_task(self._ask(client, reports)) for _ in range(concurrency)]

    async def _ask(self, client: _Client, reports: Iterator[Report]) -> None:
        try:
            for report in reports:
                self._answers.put_nowait((report, await client.mined(report)))
        except Exception as error:
            self._answers.put_nowait(error)
        self._answers.put_nowait(None)

    async def for_a_moment(self) -> list[tuple[Report, list[Mined] | Rejection]]:
        """What is answered within a moment, at least one; none when all are.

        Raises:
            UserError: the server cannot be used; what was answered before is handed on first.
        """
        if self._failure is not None:
            raise self._failure
        answered: list[tuple[Report, list[Mined] | Rejection]] = []
        end = time.monotonic() + _SECONDS_A_BATCH
        while self._at_work and len(answered) < _LARGEST_BATCH:
            left = end - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0.0) if answered else None):
                    entry = await self._answers.get()
            except TimeoutError:
                break
            if entry is None:
                self._at_work -= 1
            elif isinstance(entry, Exception):
                self._failure = entry
                if answered:
                    break
                raise entry
            else:
                answered.append(entry)
        return answered

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _started(client: _Client, reports: Iterator[Report]) -> _Asking:
    asking = _Asking()
    asking.start(client, reports, client.concurrency)
    return asking
