"""Whether a camera is there, asked cheaply while it is away, so that its return is not slept through."""

import os
import socket
from typing import Optional
from urllib.parse import urlsplit

from edge.frames import address

TIMEOUT_S = 1.0
ARGUS = "/tmp/argus_socket"  # of nvargus-daemon, which reads CSI cameras


def is_there(uri: str) -> Optional[bool]:
    """Whether the device exists or the server answers; None for what cannot be asked, such as a pipeline.

    A server must say something: one that is stopped still takes connections.
    """
    kind = address.kind_of(uri)
    if kind == address.DEVICE:
        return os.path.exists(uri)
    where = address.endpoint(uri) if kind in (address.RTSP, address.HTTP) else None
    if where is None:
        return None
    scheme = urlsplit(uri).scheme
    try:
        with socket.create_connection(where, TIMEOUT_S) as connection:
            if scheme in ("rtsps", "https"):
                return True
            question = ("OPTIONS rtsp://{0}:{1}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n" if scheme == "rtsp" else
                        "HEAD / HTTP/1.0\r\nHost: {0}:{1}\r\n\r\n").format(*where)
            connection.settimeout(TIMEOUT_S)
            connection.sendall(question.encode("utf-8"))
            return bool(connection.recv(1))
    except (OSError, ValueError):
        return False


def listens(path: str) -> bool:
    """Whether somebody listens at a socket in the file system; False: it is not there, or its process is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(TIMEOUT_S)
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # busy, or of another type
            pass
        return True
