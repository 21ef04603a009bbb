"""What an address of a camera, a stream or a video says: its kind, where it is reached, and how it is shown.

Passwords stand in addresses (rtsp://user:password@host/): whatever is logged, journalled or kept goes through shown.
"""

import os
import re
from typing import Optional, Tuple
from urllib.parse import urlsplit

from edge.files import path_text

DEVICE, CSI, PIPELINE, RTSP, HTTP, VIDEO = "device", "csi", "pipeline", "rtsp", "http", "video"
VIDEO_EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ts")
_STARTS = (("/dev/", DEVICE), ("csi://", CSI), ("gst:", PIPELINE), ("rtsp://", RTSP), ("rtsps://", RTSP),
           ("http://", HTTP), ("https://", HTTP))
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
# Greedy up to the last @ before the path: a password may hold an @ that nobody escaped
_SECRET = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s\"']*@")
# A password with a slash that nobody escaped: what follows the colon is no port
_BROKEN_SECRET = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@:]*:(?![0-9]+(?:[/?#\s]|$))[^\s\"']*@")
_NAMED_SECRET = re.compile(r"((?:pass(?:word|wd)?|pwd|token|user-pw|auth)=)[^&\s\"']+", re.IGNORECASE)


def kind_of(uri: str) -> str:
    """DEVICE, CSI, PIPELINE, RTSP, HTTP or VIDEO (a file); empty for what is none of them, such as a folder."""
    for start, kind in _STARTS:
        if uri.startswith(start):
            return kind
    is_video = uri.lower().endswith(VIDEO_EXTENSIONS) and not os.path.isdir(uri)
    return VIDEO if is_video and not uri.startswith(("sim:", "drawn:")) else ""


def shown(text: str) -> str:
    """An address, or a line with addresses in it, as people may see it: without names and passwords."""
    text = _BROKEN_SECRET.sub(r"\1***@", _SECRET.sub(r"\1***@", text))
    return path_text(_NAMED_SECRET.sub(r"\1***", text))


def endpoint(uri: str) -> Optional[Tuple[str, int]]:
    """Host and port of a network stream; None where the address has none that can be used."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number
        return None
    return (host, port or _PORTS[parts.scheme]) if host and parts.scheme in _PORTS else None


def number_of(uri: str) -> Optional[int]:
    """N of /dev/videoN, also behind a link such as /dev/v4l/by-id/…, and of csi://N; None when there is none."""
    if uri.startswith("csi://"):
        text = uri[len("csi://"):]
        return int(text or "0") if text == "" or (text.isdigit() and len(text) < 4) else None
    found = re.match(r"/dev/video([0-9]{1,4})$", os.path.realpath(uri))
    return int(found.group(1)) if found else None
