"""Who may use the web page: its password, how often it may be guessed, and which pages may send requests to it."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from getpass import getpass
from hmac import compare_digest
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from wherewhat.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""hosts at which only this machine can open the page"""
VARIABLE = "WHEREWHAT_PASSWORD"
LEAST_LETTERS = 8
GUESSES, PERIOD = 5, 60.0
"""wrong passwords within so many seconds, after which no password is looked at until they are over"""


def find_password(given: str | None, file: Path | None, host: str = LOOPBACK[0]) -> str | None:
    """The password: of the file, of the environment variable WHEREWHAT_PASSWORD, or as given on the command line, where
    other users of the machine can see it.  If there is none, and other machines can open the page at this host, it is
    asked for where a person is at the terminal.  None if there is none.  Raises UserError if it is too short."""
    if file is not None:
        try:
            given = file.expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--password-file {file} cannot be read: {error}") from None
    password = given if given is not None else os.environ.get(VARIABLE)
    if password is None and host not in LOOPBACK and sys.stdin is not None and sys.stdin.isatty():
        password = getpass(f"password of the page ({LEAST_LETTERS} letters or more): ")
    if password is not None and len(password) < LEAST_LETTERS:
        raise UserError(f"the password has {len(password)} letters: give {LEAST_LETTERS} or more")
    return password


class Door:
    """Compares passwords, and after some wrong ones waits: then not even the right one opens it."""

    def __init__(self, password: str, now: Callable[[], float] = time.monotonic) -> None:
        self.password, self.now = password.encode(), now
        self.wrong: deque[float] = deque(maxlen=GUESSES)
        self.lock = Lock()

    def __call__(self, _user: str, given: str) -> bool:
        with self.lock:
            if len(self.wrong) == GUESSES and self.now() - self.wrong[0] < PERIOD:
                return False
            if compare_digest(given.encode(), self.password):
                self.wrong.clear()
                return True
            self.wrong.append(self.now())
            return False


def only_own_pages(app: Any) -> Any:
    """Refuses requests that a page of another site sends: their Origin is not the host that they are sent to."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
        if scope["type"] == "http" and origin and urlsplit(origin).netloc != host:
            await refuse(send, 403, "requests of other sites are refused")
        else:
            await app(scope, receive, send)

    return answer


async def refuse(send: Any, status: int, words: str, close: bool = False) -> None:
    """Answer with this status and text; close: the connection too."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *[(b"connection", b"close")] * close]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})
