"""Records what edge/ and engines/ ask of the doubles: put this folder and SCRAPSORT_RECORD=FILE into the environment.

Python imports it at its start, in child processes too. Each call, read and write of a public member that comes from a
file of edge/ or engines/ becomes one line of FILE, once: {"module", "owner", "member", "kind": call, get or set,
"positional": names of each argument's type and its bases, "keywords": the same by name}.
"""

import functools
import importlib.machinery
import inspect
import json
import os
import sys

WATCHED = {"tensorrt": "tensorrt", "pycuda.driver": "pycuda"}
SPECIAL = ("__len__", "__getitem__", "__iter__", "__enter__", "__exit__", "__int__", "__index__", "__call__")
ROOT = os.path.abspath(__file__)
for _ in range(5):
    ROOT = os.path.dirname(ROOT)
OURS = tuple(os.path.join(ROOT, top) + os.sep for top in ("edge", "engines"))
_seen = set()


def _is_ours(frame):
    return os.path.abspath(frame.f_code.co_filename).startswith(OURS)


def _kinds(value):
    return [kind.__name__ for kind in type(value).__mro__ if kind is not object] or ["object"]


def _record(module, owner, member, kind, positional=(), keywords=None):
    line = json.dumps({"module": module, "owner": owner, "member": member, "kind": kind,
                       "positional": [_kinds(value) for value in positional],
                       "keywords": {name: _kinds(value) for name, value in (keywords or {}).items()}}, sort_keys=True)
    if line not in _seen:
        _seen.add(line)
        with open(os.environ["SCRAPSORT_RECORD"], "a") as file:
            file.write(line + "\n")


def _recorder(module, owner, member, function, skip=0):
    """function, with its calls recorded; skip: how many arguments come before those that users give."""
    @functools.wraps(function)
    def recorded(*positional, **keywords):
        if _is_ours(sys._getframe(1)):
            _record(module, owner, member, "call", positional[skip:], keywords)
        return function(*positional, **keywords)
    return recorded


def _watch_class(module, owner, kind):
    for member, raw in list(vars(kind).items()):
        if member in SPECIAL and callable(raw):
            setattr(kind, member, _recorder(module, owner, member, raw, 1))
        elif isinstance(raw, staticmethod) and not member.startswith("_"):
            setattr(kind, member, staticmethod(_recorder(module, owner, member, raw.__func__)))
    if kind.__init__ is not object.__init__:
        kind.__init__ = _recorder(module, owner, "__init__", kind.__init__, 1)
    read, write = kind.__getattribute__, kind.__setattr__

    def getattribute(self, member):
        value = read(self, member)
        if type(self) is kind and not member.startswith("_") and _is_ours(sys._getframe(1)):
            if inspect.isroutine(value):
                return value if inspect.isfunction(value) else _recorder(module, owner, member, value)
            _record(module, owner, member, "get")
        return value

    def set_attribute(self, member, value):
        if type(self) is kind and not member.startswith("_") and _is_ours(sys._getframe(1)):
            _record(module, owner, member, "set", (value,))
        write(self, member, value)

    kind.__getattribute__, kind.__setattr__ = getattribute, set_attribute


def _watch(module, name):
    for member, value in list(vars(module).items()):
        if member.startswith("_") or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            if not issubclass(value, BaseException):
                _watch_class(name, member, value)
        elif inspect.isfunction(value):
            setattr(module, member, _recorder(name, "", member, value))


class _Finder:
    """Finds what is watched where it is, and has it watched once it is loaded."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """As importlib wants it."""
        if name not in WATCHED or "SCRAPSORT_RECORD" not in os.environ:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            _watch(module, WATCHED[name])

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
