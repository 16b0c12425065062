"""The web page under a small load (tests/load.py has the large one), and what its server does with single requests that
its own page would not send."""

import asyncio
import re
import time

import numpy as np
import pytest
from helpers import as_png

pytest.importorskip("gradio", reason="no tests of the web page: gradio is not installed")

import load
from load import API, Visitor, connected

from wherewhat.app import guard


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with load.serving(tmp_path_factory.mktemp("served")) as server:
        yield server


def run(job, server, *words):
    asyncio.run(job(server, *words))
    server.check()


def test_many_at_once_get_each_their_own_picture(server):
    run(load.at_once, server, 30)


def test_malformed_requests_are_answered_without_a_traceback(server):
    load.malformed(server, 25)
    server.check()


def test_after_inversions_that_nobody_waits_for_the_next_visitor_is_served(server):
    run(load.given_up, server, 4)


def test_visitors_come_and_go(server):
    run(load.visits, server, 4)


def test_a_visitor_whom_the_server_does_not_know_is_told_what_to_do(server):
    """As are those who came back after SESSIONS others."""

    async def forgotten():
        async with connected(server) as (client, config):
            visitor = Visitor(client, config)
            body = {"data": [[load.CONTROL, 1.0], None, "picture"], "fn_index": visitor.events[load.MOVE]["id"]}
            answer = await client.post(f"{API}/run/predict", json={**body, "session_hash": visitor.session})
            assert answer.status_code == 500 and "load it anew" in answer.json()["error"], answer.text
            assert "data:image/png" in await visitor.open()

    run(lambda _: forgotten(), server)


def test_nobody_sees_the_pictures_of_others(server):
    """Two visitors drop photographs and move sliders: each has his own, before and after; a file that was uploaded is
    at no address."""

    async def both():
        async with connected(server) as (client, config):
            one, two = Visitor(client, config), Visitor(client, config)
            opened = await two.open()
            await one.open()
            paths = {}
            for visitor, name, colour in ((one, "one.png", 250), (two, "two.png", 90)):
                photo = as_png(np.full((80, 80, 3), colour, np.uint8))
                paths[name], answer = await load.drop(visitor, photo, name)
                assert name in answer
                if visitor is one:
                    assert (await two.move(load.CONTROL, 0.0)).count("one.png") == 0
                    again = await Visitor(client, config).open()
                    assert again == opened, "a new visitor sees what the first did"
            first, second = [await v.move(load.CONTROL, 1.0) for v in (one, two)]
            assert "one.png" in first and "two.png" in second and first != second
            for path in paths.values():
                for route in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/GRADIO_API/File="):
                    assert (await client.get(route + path)).status_code == 404
            assert (await client.get(f"{API}/deep_link?session_hash={one.session}")).status_code == 404
            config = (await client.get("/config")).text
            assert not any(name in config for name in paths)

    run(lambda _: both(), server)


def test_the_server_asks_no_other_server(server):
    """Addresses in place of uploaded files, and routes that fetch for others."""

    async def ask():
        async with connected(server) as (client, config):
            visitor = Visitor(client, config)
            event = visitor.events["dropped"]
            for path in ("http://203.0.113.1/a.png", "https://203.0.113.1/a.png", "HTTP://203.0.113.1/a.png"):
                file = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
                body = {"data": [file, None], "fn_index": event["id"], "session_hash": "thief"}
                answer = await asyncio.wait_for(client.post(f"{API}/run/predict", json=body), 5)
                assert answer.status_code == 500 and "dropped on this page" in answer.text
                for route in ("/file=", "/proxy="):
                    assert (await client.get(API + route + path)).status_code == 404

    run(lambda _: ask(), server)


# ---------------------------------------------------------------------------------------- single requests, no Gradio


def answered(app, *pieces, path="/x", wait=0.0, method="POST"):
    """Status of what an app answers to a body in these pieces, the last of which comes after some seconds (None: it
    never comes), and what the client is told beside it."""
    sent, left = [], list(pieces)

    async def receive():
        if len(left) == 1:
            await asyncio.sleep(60 if left[0] is None else wait)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


async def reader(scope, receive, send):
    """An app that reads all of a request."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RuntimeError("the client went away")
        if not message.get("more_body"):
            break
    await guard.refuse(send, 200, "thank you")


def test_requests_that_stall_are_closed(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    app = guard.bounded(reader)
    assert answered(app, b"a", b"b", wait=0.05)[0] == 200
    began = time.monotonic()
    status, headers = answered(app, b"a", None)
    assert status == 408 and headers[b"connection"] == b"close" and time.monotonic() - began < 2


def test_requests_that_come_in_drops_are_closed(monkeypatch):
    monkeypatch.setattr(guard, "LONGEST", 0.3)

    async def drops(scope, receive, send):
        async def drop():
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b"x", "more_body": True}

        await guard.bounded(reader)(scope, drop, send)

    assert answered(drops, b"")[0] == 408


@pytest.mark.parametrize(
    ("path", "largest"), [("/gradio_api/upload", "LARGEST_UPLOAD"), ("/gradio_api/run/x", "LARGEST")]
)
def test_requests_have_a_largest_size(monkeypatch, path, largest):
    monkeypatch.setattr(guard, "LARGEST_UPLOAD", 10)
    monkeypatch.setattr(guard, "LARGEST", 4)
    app, most = guard.bounded(reader), getattr(guard, largest)
    assert answered(app, b"x" * (most - 1), b"x", path=path)[0] == 200
    assert answered(app, b"x" * most, b"x", path=path)[0] == 413


def test_what_a_broken_upload_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "LONGEST", -1)
    monkeypatch.setattr(guard, "QUOTA", 10)
    whole = tmp_path / "hash" / "photo.png"
    whole.parent.mkdir()
    whole.write_bytes(b"x" * 9)
    (tmp_path / "tmpbroken").write_bytes(b"x" * 9)
    app = guard.within_quota(reader, tmp_path)
    assert answered(app, b"x", path="/gradio_api/upload")[0] == 200
    assert whole.exists() and not (tmp_path / "tmpbroken").exists()


def test_an_app_that_fails_is_one_line(capsys):
    async def fails(scope, receive, send):
        raise KeyError("text that\nsomeone sent \x1b[31m")

    assert answered(guard.without_tracebacks(fails), b"")[0] == 400
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "\x1b" not in said
    assert re.search(r"test_server_load.py:\d+: KeyError", said)
