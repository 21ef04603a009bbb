"""Files that matter, written as the appliance writes them, and their hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, Any, Callable

from edge.files import replace_durably


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let write(file) fill a temporary file beside path, then put it in path's place, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_durably(str(path), write)


def write_json(path: Path, value: Any) -> None:
    """Write value as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
