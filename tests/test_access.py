"""Who may use the web page."""

import asyncio
from types import SimpleNamespace

import pytest

from wherewhat.app import access, guard
from wherewhat.app.access import GUESSES, PERIOD, Door, find_password, only_own_pages
from wherewhat.app.guard import within_quota
from wherewhat.app.server import serve
from wherewhat.errors import UserError


def test_passwords_come_from_a_file_the_environment_or_the_command_line(tmp_path, monkeypatch):
    assert find_password(None, None) is None
    monkeypatch.setenv("WHEREWHAT_PASSWORD", "from outside")
    (tmp_path / "word").write_text("of the file\n")
    assert find_password(None, None) == "from outside"
    assert find_password("as it was given", None) == "as it was given"
    assert find_password(None, tmp_path / "word") == "of the file"
    with pytest.raises(UserError, match="7 letters: give 8"):
        find_password("seven77", None)
    with pytest.raises(UserError, match="cannot be read"):
        find_password(None, tmp_path / "nowhere")


def test_a_password_is_asked_for_at_a_terminal_where_other_machines_could_open_the_page(tmp_path, monkeypatch):
    monkeypatch.delenv("WHEREWHAT_PASSWORD", raising=False)
    monkeypatch.setattr(access, "getpass", lambda prompt: "as typed" if "8 letters" in prompt else "")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert find_password(None, None, "0.0.0.0") == "as typed"
    assert find_password(None, None, "127.0.0.1") is None
    (tmp_path / "word").write_text("of the file\n")
    assert find_password(None, tmp_path / "word", "0.0.0.0") == "of the file"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    assert find_password(None, None, "0.0.0.0") is None


def test_after_some_wrong_guesses_nothing_opens_for_a_while():
    clock = [0.0]
    door = Door("open sesame", lambda: clock[0])
    assert door("", "open sesame")
    assert not any(door("", f"guess {k}") for k in range(GUESSES))
    assert not door("", "open sesame")
    clock[0] = PERIOD + 1
    assert door("", "open sesame")


def answered(app, headers=(), method="POST", path="/x"):
    """The status of what an app answers; 200: the request went through."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(k, v) for k, v in headers]}
    asyncio.run(app(scope, None, send))
    return sent[0]["status"]


async def welcome(scope, receive, send):
    await access.refuse(send, 200, "welcome")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"host", b"127.0.0.1:7860")], 200),
        ([(b"host", b"127.0.0.1:7860"), (b"origin", b"http://127.0.0.1:7860")], 200),
        ([(b"host", b"127.0.0.1:7860"), (b"origin", b"http://evil.example")], 403),
        ([(b"host", b"127.0.0.1:7860"), (b"origin", b"http://127.0.0.1:9999")], 403),
        ([(b"host", b"127.0.0.1:7860"), (b"origin", b"null")], 403),
    ],
)
def test_only_its_own_pages_may_ask(headers, status):
    assert answered(only_own_pages(welcome), headers) == status


def test_uploads_have_a_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "QUOTA", 10)
    app = within_quota(welcome, tmp_path)
    assert answered(app, path="/gradio_api/upload") == 200
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert answered(app, path="/gradio_api/upload") == 507
    assert answered(app, path="/config", method="GET") == 200


@pytest.mark.parametrize("port", [0, -1, 99999])
def test_ports_have_bounds(tmp_path, port):
    with pytest.raises(UserError, match="1 to 65535"):
        serve([], tmp_path, port=port)


def test_other_machines_need_a_password(tmp_path):
    with pytest.raises(UserError, match="WHEREWHAT_PASSWORD"):
        serve([], tmp_path, host="0.0.0.0")
