"""The web page under load: many requests at once, malformed ones, slow clients, inversions that nobody waits for, and
the memory after all of it.  `make test-load` runs it in full; tests/test_server_load.py a small part of it."""

import asyncio
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from helpers import as_png
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from wherewhat.app.guard import PATIENCE
from wherewhat.app.server import SESSIONS
from wherewhat.run.shipped import SHIPPED

ROOT = Path(__file__).parent.parent
API = "/gradio_api"
GROWTH = 0.10
"""the share by which the memory of the server may grow"""


# ----------------------------------------------------------------------------------------------------------- the server


class Server:
    """A page in a process of its own; what it prints is kept in a file."""

    def __init__(self, process: subprocess.Popen, address: str, log: Path) -> None:
        self.process, self.address, self.log = process, address, log

    @property
    def memory(self) -> int:
        """Bytes of the process that are in memory (VmRSS of Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])

    def check(self) -> None:
        """It runs, and has not met an error that it did not expect."""
        printed = self.log.read_text()
        assert self.process.poll() is None, printed[-3000:]
        assert "Traceback" not in printed, printed[:6000]


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Server]:
    """A page of a copy of a shipped run, on a free port of this machine; in `folder` are its log and uploads."""
    run = shutil.copytree(SHIPPED / "faces", folder / "faces")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, address = folder / "server.log", f"http://127.0.0.1:{port}"
    command = ["-m", "wherewhat.cli", "explore", run.name, "--port", str(port), "--device", "cpu", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    with log.open("w") as to:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=to, stderr=to)
    try:
        until = time.monotonic() + 120
        while address not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield Server(process, address, log)
        process.terminate()
        process.wait(20)
        assert not list(folder.glob("wherewhat-*")), "uploads are removed at the end"
    finally:
        process.kill()
        process.wait()


# -------------------------------------------------------------------------------------------------------------- clients

SAMPLE, MOVE = "partial_1", "moved_3"
"""names that Gradio gives to the events of drawing a sample and of moving a slider"""
CONTROL = 29
"""the control that is moved"""


class Visitor:
    """One browser: its session, and the events of the page by name."""

    def __init__(self, client: httpx.AsyncClient, config: dict) -> None:
        self.client, self.session = client, secrets.token_hex(6)
        self.events = {event["api_name"]: event for event in config["dependencies"] if event["backend_fn"]}

    async def ask(self, name: str, *values: object) -> list:
        """What an event gives for the values that are no state of the session, in their order."""
        if self.events[name]["queue"]:
            await self.join(name, *values)
            return await self.answer()
        return (await self._post("run/predict", name, values))["data"]

    async def join(self, name: str, *values: object) -> dict:
        """Let an event wait in the queue, as `ask`."""
        return await self._post("queue/join", name, values)

    async def _post(self, route: str, name: str, values: Sequence[object]) -> dict:
        body = {"data": list(values), "fn_index": self.events[name]["id"], "session_hash": self.session}
        answer = await self.client.post(f"{API}/{route}", json={**body, "event_data": None})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def answer(self) -> list:
        """What the queue sends for the event that this session waits for."""
        async with self.client.stream("GET", f"{API}/queue/data?session_hash={self.session}") as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    assert message["success"], message
                    return message["output"]["data"]
        raise AssertionError("the queue ended without an answer")

    async def open(self) -> str:
        """Open the page.  Returns its large picture."""
        return (await self.ask("opened"))[2]

    async def sample(self, seed: int) -> str:
        """Draw a sample.  Returns its large picture."""
        return (await self.ask(SAMPLE, seed, None, "picture", None))[1]

    async def move(self, control: int, value: float, view: str = "picture") -> str:
        """Move a slider.  Returns the large picture."""
        return (await self.ask(MOVE, [control, value], None, view))[1]

    async def visit(self) -> None:
        """What a user does: open the page, take a sample, move a slider, look, leave."""
        async with self.client.stream("GET", f"{API}/heartbeat/{self.session}"):
            assert (await self.client.get("/")).status_code == 200
            await self.open()
            await self.sample(random.randrange(1000))
            for value in (-1.5, 0.5, 2):
                await self.move(CONTROL, value)
            await self.ask("redrawn", None, None, None)
            await self.move(CONTROL, 1, "where")


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[tuple[httpx.AsyncClient, dict]]:
    """A client of many connections, and the settings of the page."""
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=server.address, timeout=300, limits=limits, trust_env=False) as client:
        yield client, (await client.get("/config")).json()


# ---------------------------------------------------------------------------------------------------------------- loads


async def at_once(server: Server, count: int) -> None:
    """So many sliders moved at the same time, by as many visitors as the server remembers: each gets a picture."""
    async with connected(server) as (client, config):
        visitors = [Visitor(client, config) for _ in range(min(count, SESSIONS))]
        values = np.linspace(-2, 2, count).tolist()
        await asyncio.gather(*(v.open() for v in visitors))
        pictures = await asyncio.gather(
            *(visitors[k % len(visitors)].move(CONTROL, value) for k, value in enumerate(values))
        )
        assert all("data:image/png" in picture for picture in pictures)
        assert len(set(pictures)) > count / 4, "pictures of different values differ"


async def visits(server: Server, count: int, together: int = 4) -> None:
    """As many visitors, some of them at a time."""
    gate = asyncio.Semaphore(together)
    async with connected(server) as (client, config):

        async def one() -> None:
            async with gate:
                await Visitor(client, config).visit()

        await asyncio.gather(*(one() for _ in range(count)))


async def drop(visitor: Visitor, photo: bytes, name: str, wait: bool = True) -> tuple[str, Any]:
    """A photograph is dropped on the page: the path that it is given, and the picture that comes of it (not `wait`:
    what the queue answers)."""
    sent = await visitor.client.post(f"{API}/upload", files={"files": (name, photo, "image/png")})
    file = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
    await visitor.ask("dropped", file, None)
    if not wait:
        return file["path"], await visitor.join("fitted", None, None)
    await visitor.ask("fitted", None, None)
    return file["path"], (await visitor.ask("taken", None, None, "picture", None))[1]


async def given_up(server: Server, count: int) -> None:
    """Photographs are dropped on the page by visitors who leave at once; the next visitor is served all the same."""
    photo = as_png(np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8))
    async with connected(server) as (client, config):
        for k in range(count):
            visitor = Visitor(client, config)
            _, joined = await drop(visitor, photo, "photo.png", wait=False)
            if k % 2:
                body = {"session_hash": visitor.session, "fn_index": 0, **joined}
                assert (await client.post(f"{API}/cancel", json=body)).status_code == 200
            else:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(visitor.answer(), random.uniform(0, 0.3))
        last = Visitor(client, config)
        await last.open()
        _, answer = await asyncio.wait_for(drop(last, photo, "last.png"), 60)
        assert "last.png" in answer and "data:image/png" in answer


async def slow_clients(server: Server, count: int, patience: float) -> None:
    """Connections that send half a request, an upload that stalls, or read nothing keep no other waiting; those that
    stall are closed after `patience` seconds."""
    address, port = server.address.removeprefix("http://").split(":")
    host = f"Host: {address}:{port}\r\n".encode()
    half = [
        b"GET / HTTP/1.1\r\nHos",
        b"POST /gradio_api/upload HTTP/1.1\r\n" + host + b"Content-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 1000000\r\n\r\n--b\r\nContent-Disposition: form-data; name=files; filename=a.png\r\n\r\nxx",
        b"POST /gradio_api/run/predict HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n{",
        b"GET /config HTTP/1.1\r\n" + host + b"\r\n",
    ]  # fmt: skip
    opened = [await asyncio.open_connection(address, int(port)) for _ in range(count)]
    for k, (_, writer) in enumerate(opened):
        writer.write(half[k % len(half)])
        await writer.drain()
    began = time.monotonic()
    await asyncio.wait_for(visits(server, 2), 60)
    for reader, _ in opened[1::4] + opened[2::4]:
        left = max(patience + 10 - (time.monotonic() - began), 1)
        answer = await asyncio.wait_for(reader.read(), left)
        assert b" 408 " in answer.split(b"\r\n")[0], answer[:200]
    for _, writer in opened:
        writer.close()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["../../etc/passwd", "<b>", "\x00", 10**400, -1, 2**63, "nan", "picture", "where"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
"""values that JSON can hold (and NaN, which it cannot)"""


@st.composite
def events(draw: st.DrawFn, config: dict) -> dict:
    """The body of an event of the page, of which parts are replaced, left out or added."""
    event = draw(st.sampled_from(config["dependencies"]))
    body = {"data": [None] * len(event["inputs"]), "fn_index": event["id"], "session_hash": "malformed",
            "event_data": {}, "trigger_id": None}  # fmt: skip
    for place in range(len(event["inputs"])):
        body["data"][place] = draw(anything)
    for key in draw(st.sets(st.sampled_from(list(body)), max_size=2)):
        body[key] = draw(anything)
    if draw(st.booleans()):
        body.pop(draw(st.sampled_from(list(body))))
    return body


WORDS = st.sampled_from(["x", "%00", "..%2f..", "-1", "99999999999999999999", "nan", "%F0%9F%98%80", "a" * 300, "a/b"])
ROUTES = (
    "GET /", "GET /config", "GET /theme.css", "GET /assets/{}", "GET /static/{}", "GET /svelte/{}", "GET /pwa_icon/{}",
    "GET /monitoring/{}", "GET /api/info", "GET /api/openapi.json", "GET /api/user", "GET /api/queue/status",
    "GET /api/queue/data?session_hash={}", "GET /api/queue/data", "GET /api/call/{}/{}", "GET /api/call/v2/{}/{}",
    "GET /api/file={}", "GET /api/file/{}", "GET /api/proxy={}", "GET /api/deep_link?session_hash={}", "GET /api/runs",
    "GET /api/stream/{}/{}/{}/playlist.m3u8", "GET /api/custom_component/{}/{}/{}/{}", "GET /api/run-history/records",
    "GET /api/upload_progress?upload_id={}", "POST /login", "POST /api/run/{}", "POST /api/api/{}", "POST /api/call/{}",
    "POST /api/call/v2/{}", "POST /api/queue/join", "POST /api/cancel", "POST /api/reset", "POST /api/upload",
    "POST /api/component_server", "POST /api/process_recording", "POST /api/stream/{}", "POST /api/vibe-edit",
)  # fmt: skip
"""what Gradio's server answers; api stands for its prefix, {} for any word"""


def malformed(server: Server, count: int) -> None:
    """Requests that the page never sends: each is answered, and not with the status of a server that failed."""
    json_sent = {"content-type": "application/json"}
    with httpx.Client(base_url=server.address, timeout=30, trust_env=False, headers=json_sent) as client:
        config = client.get("/config").json()

        @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(events(config))
        def test_events(body: dict) -> None:
            queued = client.post(f"{API}/queue/join", content=as_json(body))
            assert queued.status_code < 500, (body, queued.text)
            direct = client.post(f"{API}/run/predict", content=as_json(body))
            assert "Traceback" not in direct.text

        @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(
            st.sampled_from(ROUTES),
            st.lists(WORDS, min_size=4, max_size=4),
            anything | st.binary(max_size=50),
            st.sampled_from(["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text", ""]),
        )
        def test_routes(route: str, words: list, content: object, kind: str) -> None:
            method, path = route.replace("/api/", f"{API}/", 1).format(*words).split()
            body = content if isinstance(content, bytes) else as_json(content)
            with client.stream(method, path, content=body, headers={"content-type": kind}) as answer:
                assert answer.status_code < 500, (route, words, body, kind)

        test_events()
        test_routes()


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


# ------------------------------------------------------------------------------------------------------- all in full


def test_all_loads_leave_no_traceback_and_no_memory(tmp_path: Path) -> None:
    with serving(tmp_path) as server:

        def load(what: str, work: Callable[[], Any]) -> None:
            began = time.monotonic()
            work()
            server.check()
            print(f"{what}: {time.monotonic() - began:.0f} s, {server.memory / 2**20:.0f} MB afterwards", flush=True)

        load("one visitor, one photograph", lambda: asyncio.run(some(server)))
        before = settled(server)
        for _ in range(5):
            load("200 requests at once", lambda: asyncio.run(at_once(server, 200)))
        load("150 visitors", lambda: asyncio.run(visits(server, 150)))
        growth = settled(server) / before - 1
        print(f"memory: {growth:+.1%}")
        load("750 malformed requests", lambda: malformed(server, 250))
        load("100 slow clients", lambda: asyncio.run(slow_clients(server, 100, PATIENCE)))
        load("30 inversions given up", lambda: asyncio.run(given_up(server, 30)))
        assert growth < GROWTH


def settled(server: Server) -> int:
    """Bytes that stay in memory, which is given back now and then: the least after each of a few visitors."""
    sizes = []
    for _ in range(4):
        asyncio.run(visits(server, 1))
        sizes.append(server.memory)
    return min(sizes)


async def some(server: Server) -> None:
    await visits(server, 1)
    await given_up(server, 0)
