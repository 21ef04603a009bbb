"""The machine that is looked at: its files, its Python, its environment."""

import glob
import importlib
import os
import re
import sys
from typing import Any, Callable, List, MutableMapping, NamedTuple, Optional, Sequence, Tuple


class Interpreter(NamedTuple):
    """A Python and what it finds; load imports a module as importlib.import_module does."""

    version: Tuple[int, int]
    prefix: str
    base_prefix: str
    path: Sequence[str]
    load: Callable[[str], Any] = importlib.import_module

    @property
    def in_venv(self) -> bool:
        """Whether this is a virtual environment's Python."""
        return self.prefix != self.base_prefix


class Place:
    """All files are looked for below root, where the paths of python are those that it has inside."""

    def __init__(self, root: str = "/", environ: Optional[MutableMapping[str, str]] = None,
                 python: Optional[Interpreter] = None):
        self.root = root
        self.environ = os.environ if environ is None else environ
        self.python = python or Interpreter((sys.version_info[0], sys.version_info[1]), sys.prefix, sys.base_prefix,
                                            [entry for entry in sys.path if entry])

    @property
    def in_container(self) -> bool:
        """Whether Docker or Podman runs this."""
        return self.exists("/.dockerenv") or self.exists("/run/.containerenv")

    def real(self, path: str) -> str:
        """Where path of the machine lies for us."""
        return os.path.join(self.root, path.lstrip("/"))

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(self.real(path))

    def text(self, path: str) -> str:
        """What stands in a file; empty when it cannot be read."""
        try:
            with open(self.real(path), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def glob(self, pattern: str) -> List[str]:
        """The paths that fit, in order, as the machine names them."""
        found = sorted(glob.glob(self.real(pattern)))
        return found if self.root == "/" else [path[len(self.root.rstrip("/")):] for path in found]

    def module(self, name: str) -> str:
        """Where Python would find a module or package, without importing it; empty: nowhere."""
        for folder in self.python.path:
            for pattern in (name + "/__init__.py", name + ".py", name + ".*.so", name + ".so", name):
                found = self.glob(os.path.join(folder, pattern))
                if found and (pattern != name or os.path.isdir(self.real(found[0]))):
                    return found[0]
        return ""

    def version(self, distribution: str) -> str:
        """The version of an installed distribution by its metadata, without importing it; empty: not installed."""
        name = re.sub(r"[-_.]+", "[-_.]", distribution)
        for folder in self.python.path:
            for kind in ("dist-info", "egg-info"):
                for path in self.glob(os.path.join(folder, "{}-*.{}".format(name, kind))):
                    return os.path.basename(path)[len(distribution) + 1:-len(kind) - 1].partition("-py")[0]
        return ""
