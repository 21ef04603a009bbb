"""Fetching the public data set: resumes where it stopped, and is used only if its hash is right."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from trainer.errors import TrainerError
from trainer.files import sha256_of

TRASHNET_URL = ("https://huggingface.co/datasets/garythung/trashnet/resolve/"
                "94cd17ebfd6702bf62281d3c89f22ff649815b46/dataset-resized.zip")
TRASHNET_SHA256 = "c060e8abfe5d6de0578ca15be1ed8ad0794a865d333c3473d53d1d9ad6e38b8c"  # that commit's LFS pointer


def download(folder: Path, url: str = TRASHNET_URL, sha256: str = TRASHNET_SHA256, timeout_s: float = 30.0) -> Path:
    """Fetch url into folder unless it is there already, and return its path.

    A partial file (NAME.part) is continued. Raises TrainerError when the network does not allow it, with what to
    fetch by hand and where to put it, or when the hash is wrong (the file is then deleted).
    """
    target = folder / url.rsplit("/", 1)[1]
    if target.exists() and sha256_of(target) == sha256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        _fetch(url, part, timeout_s)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise TrainerError(f"cannot fetch {url} ({reason}); fetch it by hand, put it at {target} "
                           f"(sha256 {sha256}) and run the same command again") from error
    got = sha256_of(part)
    if got != sha256:
        part.unlink()
        raise TrainerError(f"{url}: sha256 {got} instead of {sha256}; the file was deleted, run the command again")
    os.replace(part, target)
    return target


def _fetch(url: str, part: Path, timeout_s: float) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing: an earlier run was stopped just before the rename
            return
        raise
    with response:
        if done and response.status != 206:  # the server does not continue: from the start
            done = 0
        total = int(response.headers.get("Content-Length") or 0) + done
        with open(part, "ab" if done else "wb") as file, \
                tqdm(total=total or None, initial=done, unit="B", unit_scale=True, desc=part.stem) as bar:
            while block := response.read(1 << 16):
                file.write(block)
                bar.update(len(block))
    if total and part.stat().st_size < total:  # a connection that ends early raises nothing by itself
        raise OSError(f"connection lost at {part.stat().st_size} of {total} bytes; run the command again to go on")
