"""What the server does with requests that no page of its own sends: slow or large ones, ones that make it ask other
servers, and ones that Gradio cannot read."""

import asyncio
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

from wherewhat.app.access import refuse
from wherewhat.atomic import first_line

PATIENCE, LONGEST = 20.0, 300.0
"""seconds without a byte of a request, and until all of it is there, after which it is closed"""
LARGEST_UPLOAD, LARGEST = 64 * 2**20, 2**20
"""bytes of a request that uploads files, and of any other"""
QUOTA = 500 * 2**20
"""bytes of all uploads that are there at a time"""
UPLOAD = "/upload"
"""the end of the address to which files are sent"""
UNUSED = re.compile(
    "/(gradio_api/)?(file[=/]|proxy=|deep_link|monitoring|process_recording|run-history|stream/|vibe-)", re.IGNORECASE
)
"""addresses of Gradio that the page does not use: some give files to whoever knows their names, or ask other servers
for what anyone names"""


def only_used_routes(app: Any) -> Any:
    """There is nothing at the addresses that are not used."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and UNUSED.match(scope["path"]):
            await refuse(send, 404, "there is nothing here")
        else:
            await app(scope, receive, send)

    return answer


def bounded(app: Any) -> Any:
    """Closes requests that stall (408), and those that are too large (413)."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request = _Request(receive, send, LARGEST_UPLOAD if scope["path"].endswith(UPLOAD) else LARGEST)
        try:
            await app(scope, request.receive, request.send)
        except Exception:
            if not request.refusal:
                raise
        if request.refusal and not request.answered:
            await refuse(send, *request.refusal, close=True)

    return answer


class _Request:
    """A request whose body is counted and timed.  Once it is refused, the app is told that its client has gone, and
    what it answers is dropped."""

    def __init__(self, receive: Any, send: Any, largest: int) -> None:
        self._receive, self._send, self.left = receive, send, largest
        self.until = asyncio.get_running_loop().time() + LONGEST
        self.whole = self.answered = False
        self.refusal: tuple[int, str] | None = None

    async def receive(self) -> Any:
        if self.whole:
            return await self._receive()
        wait = min(PATIENCE, self.until - asyncio.get_running_loop().time())
        try:
            message = await asyncio.wait_for(self._receive(), wait)
        except asyncio.TimeoutError:
            return self._refused(408, "this took too long")
        self.left -= len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        return message if self.left >= 0 else self._refused(413, "this is too large")

    def _refused(self, status: int, words: str) -> Any:
        self.refusal, self.whole = (status, words), True
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if not self.refusal:
            self.answered = True
            await self._send(message)


def within_quota(app: Any, uploads: Path) -> Any:
    """Refuses uploads while those that are there take QUOTA bytes; they are removed after an hour, and what is left of
    those that were broken off with the next upload."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        uploading = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith(UPLOAD)
        if uploading and _size_without_broken(uploads) > QUOTA:
            await refuse(send, 507, "there is no room for more pictures: try again in an hour")
        else:
            await app(scope, receive, send)

    return answer


def _size_without_broken(uploads: Path) -> int:
    """Bytes of the files of a folder.  A whole upload lies in a folder of its own; files that do not, and that no
    upload can still be writing, are removed."""
    total = 0
    for file in uploads.rglob("*"):
        with suppress(FileNotFoundError):
            stat = file.stat()
            if not S_ISREG(stat.st_mode):
                continue
            if file.parent == uploads and time.time() - stat.st_mtime > LONGEST:
                file.unlink()
            else:
                total += stat.st_size
    return total


def without_tracebacks(app: Any) -> Any:
    """A request on which the app fails is answered with 400, and a line on standard error says why."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        started = False

        async def send_on(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, send_on)
        except Exception as error:
            if scope["type"] != "http":
                raise
            tell(error)
            if started:
                await send({"type": "http.response.body", "body": b""})
            else:
                await refuse(send, 400, "this cannot be answered")

    return answer


def tell(error: Exception) -> None:
    """A line about a request that failed, and where: without a traceback, which anyone could fill a disk with."""
    frame, line = error.__traceback__, 0
    file = ""
    while frame:
        file, line, frame = frame.tb_frame.f_code.co_filename, frame.tb_lineno, frame.tb_next
    words = f"{type(error).__name__}: {first_line(error)!r:.200}"
    print(f"wherewhat: a request failed at {file}:{line}: {words}", file=sys.stderr, flush=True)
