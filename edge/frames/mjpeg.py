"""MJPEG over HTTP (multipart/x-mixed-replace), read here: FFmpeg shows a truncated picture as a whole one.

A thread takes pictures from the connection as they come and keeps the newest, so that a decoder which is too slow for
them never works on an old one that waited in a socket's buffer.
"""

import base64
import http.client
import re
import threading
import time
import urllib.error
import urllib.request
from typing import Any, Optional, Tuple
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np

from edge.errors import PictureError
from edge.frames import pictures

MOST_BYTES = 64 * 1024 * 1024  # of one picture
USER_AGENT = "scrapsort"


def open_url(uri: str, timeout_s: float) -> Any:
    """The answer to a GET of uri, with the name and password in it by Basic or Digest. Raises OSError, HTTPException
    or ValueError."""
    parts = urlsplit(uri)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    # Cameras are on the machine's own network: no proxy
    handlers = [urllib.request.ProxyHandler({})]  # type: list
    request = urllib.request.Request(bare, headers={"User-Agent": USER_AGENT})
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, bare, user, password)
        handlers.append(_Digest(passwords))
        text = base64.b64encode("{}:{}".format(user, password).encode("utf-8")).decode("ascii")
        request.add_unredirected_header("Authorization", "Basic " + text)
    return urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Answers a Digest challenge alone: the base class raises ValueError when a server asks for Basic, again."""

    def http_error_401(self, req: Any, fp: Any, code: int, msg: Any, headers: Any) -> Any:
        if (headers.get("WWW-Authenticate") or "").lower().startswith("digest"):
            return super().http_error_401(req, fp, code, msg, headers)
        return None


def boundary_of(content_type: str) -> Optional[bytes]:
    """What stands between the parts, with its dashes; None when it is no stream of pictures."""
    if not content_type.lower().startswith("multipart/"):
        return None
    found = re.search(r'boundary="?([^";,]+)', content_type, re.IGNORECASE)
    text = found.group(1).strip() if found else ""
    # Many cameras write the dashes, which are no part of the boundary, into the header
    return ("--" + text.lstrip("-")).encode("latin-1") if text else None


class Parts:
    """The pictures of one connection, one after the other."""

    def __init__(self, response: Any, boundary: bytes):
        self._response, self._boundary = response, boundary
        self._buffer = bytearray()

    def next(self) -> Optional[Tuple[float, bytes]]:
        """When the picture began to arrive, monotonic, and its bytes; None at the end of the stream."""
        if not self._until(self._boundary):
            return None
        header = self._until(b"\n")  # the rest of the boundary's own line
        length = -1
        while header is not None:
            header = self._until(b"\n")
            if not header or not header.strip():
                break
            name, _, value = header.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        # Before the body has come: nearer to the capture. Not earlier: many cameras send the boundary with the picture
        # before it
        began_s = time.monotonic()
        data = self._exactly(length) if length >= 0 else self._until(self._boundary, keep=True)
        if data is None:
            return None
        inside = data.find(b"\r\n" + self._boundary)
        if inside >= 0:  # it is shorter than it claimed to be, and the next one has begun
            self._buffer[:0] = data[inside:]
            data = data[:inside]
        return began_s, bytes(data)

    def _more(self) -> bool:
        data = self._response.read1(1 << 16)
        self._buffer += data
        return bool(data)

    def _until(self, mark: bytes, keep: bool = False) -> Optional[bytearray]:
        """All up to and with mark (keep: without it, and it stays)."""
        looked = 0
        while True:
            at = self._buffer.find(mark, max(0, looked - len(mark)))
            if at >= 0:
                end = at if keep else at + len(mark)
                found, self._buffer = self._buffer[:end], self._buffer[end:]
                return found
            looked = len(self._buffer)
            if looked > MOST_BYTES or not self._more():
                return None

    def _exactly(self, length: int) -> Optional[bytearray]:
        if length > MOST_BYTES:
            return None
        while len(self._buffer) < length:
            if not self._more():
                return None
        found, self._buffer = self._buffer[:length], self._buffer[length:]
        return found


class MjpegStream:
    """The newest picture of the connection, as capture.Capture wants it."""

    backend, fps = "HTTP", 0.0

    def __init__(self, response: Any, boundary: bytes):
        self._response, self._parts = response, Parts(response, boundary)
        self._news = threading.Condition()
        self._newest: Optional[Tuple[float, bytes]] = None
        self._arrived = self._taken = 0
        self._ended = False
        self._data = b""
        self.skipped = 0  # pictures that were passed over by the last grab
        threading.Thread(target=self._receive, name="mjpeg", daemon=True).start()

    def _receive(self) -> None:
        try:
            while True:
                part = self._parts.next()
                if part is None:
                    break
                with self._news:
                    self._newest, self._arrived = part, self._arrived + 1
                    self._news.notify()
        except (OSError, http.client.HTTPException, ValueError):  # the connection is lost: as good as its end
            pass
        with self._news:
            self._ended = True
            self._news.notify()

    def grab(self) -> Optional[float]:
        """Wait for a picture; when it began to arrive, monotonic, or None at the end."""
        with self._news:
            while self._arrived == self._taken:
                if self._ended:
                    return None
                self._news.wait()
            assert self._newest is not None
            self.skipped, self._taken = self._arrived - self._taken - 1, self._arrived
            began_s, self._data = self._newest
            return began_s

    def retrieve(self, into: Optional[np.ndarray] = None) -> Optional[np.ndarray]:
        """The picture, (h, w, 3) uint8 BGR; None when it is truncated or cannot be decoded."""
        try:
            return pictures.decode(self._data)
        except PictureError:
            return None

    def position_s(self) -> Optional[float]:
        """None: a stream has no position."""
        return None

    def release(self) -> None:
        """Close the connection."""
        self._response.close()
