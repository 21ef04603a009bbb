"""What a module offers, as JSON: `python api_dump.py tensorrt` prints its classes, members and signatures.

Three kinds of functions are read: Python's own (inspect), pybind11's and Boost.Python's (first lines of the docstring).
The form, which tensorrt_documented.json has as well:

    {"classes": {NAME: {"bases": [NAME], "members": {NAME: MEMBER}}}}
    MEMBER: {"kind": "method", "signatures": [{"args": [[name, type, default]], "returns": type}]}
            {"kind": "property", "type": type, "settable": bool}   {"kind": "value"}   {"kind": "class"}

The module itself is the class "". A default is null where there is none; a method's args do not hold self; a name of
null can be given by position alone, and "*" or "**" before a name means what it means in Python.
"""

import dis
import importlib
import inspect
import json
import re
import sys

TYPES = {"typing.SupportsInt": "int", "typing.SupportsIndex": "int", "typing.SupportsFloat": "float",
         "typing_extensions.Buffer": "buffer", "collections.abc.Buffer": "buffer", "typing.Any": "object",
         "collections.abc.Sequence": "List", "capsule": "object", "typing_extensions.CapsuleType": "object",
         "types.CapsuleType": "object", "typing.": ""}
PYBIND = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\)(?: -> (.*?))?$")
BOOST = re.compile(r"^(\w+)\((.*?)\) -> (.*?) ?:$")
SPECIAL = ("__init__", "__len__", "__getitem__", "__iter__", "__call__", "__enter__", "__exit__", "__int__",
           "__index__", "__or__", "__eq__", "__contains__", "__setitem__", "__buffer__")


def dump(module):
    """The classes of a module in the form above; bases that are not of it are left out."""
    classes = {"": {"bases": [], "members": {}}}
    known = {}
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") and name != "__version__" or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            _add_class(value, name, classes, known)
            classes[""]["members"][name] = {"kind": "class"}
        else:
            classes[""]["members"][name] = _function(value, False) if callable(value) else {"kind": "value"}
    for name, value in known.items():
        classes[name]["bases"] = [other for other, base in known.items()
                                  if base is not value and issubclass(value, base)]
    return {"classes": classes}


def _add_class(value, name, classes, known):
    known[name] = value
    members = {}
    classes[name] = {"bases": [], "members": members}
    for member, raw in sorted(vars(value).items()):
        if member.startswith("_") and member not in SPECIAL or member == "__eq__":
            continue
        if inspect.isclass(raw):
            members[member] = {"kind": "class"}
            if raw is not value and raw not in known.values():
                _add_class(raw, name + "." + member, classes, known)
        elif inspect.isdatadescriptor(raw):
            members[member] = _property(raw)
        elif isinstance(raw, (staticmethod, classmethod)):
            members[member] = _function(raw.__func__, isinstance(raw, classmethod))
        elif callable(raw) or hasattr(raw, "__func__"):
            members[member] = _function(raw, True)
        else:
            members[member] = {"kind": "value"}
    for member in getattr(value, "__members__", {}):
        members[member] = {"kind": "value"}
    for member in _set_by(vars(value).get("__init__")):
        members.setdefault(member, {"kind": "property", "type": "", "settable": True, "plain": True})


def _set_by(init):
    """The public attributes that a Python __init__ sets: as good as properties for whoever uses the object."""
    if not inspect.isfunction(init):
        return []
    return sorted({step.argval for step in dis.get_instructions(init)
                   if step.opname == "STORE_ATTR" and not step.argval.startswith("_")})


def _property(raw):
    getter = getattr(raw, "fget", None)
    signatures = parse(getattr(getter, "__doc__", "") or "", "")
    return {"kind": "property", "type": signatures[0]["returns"] if signatures else "",
            "settable": getattr(raw, "fset", raw) is not None}


def _function(function, is_method):
    if inspect.isfunction(function):
        signatures = [_python(function)]
    else:
        signatures = parse(function.__doc__ or "", getattr(function, "__name__", ""))
    for signature in signatures:
        if is_method and signature["args"] and not str(signature["args"][0][0]).startswith("*"):
            del signature["args"][0]
    alone = "of the double alone" in (function.__doc__ or "").lower()
    return dict({"kind": "method", "signatures": signatures}, **({"alone": True} if alone else {}))


def _python(function):
    arguments = []
    for parameter in inspect.signature(function).parameters.values():
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = None if parameter.default is parameter.empty else repr(parameter.default)
        arguments.append([star + parameter.name, "", default])
    return {"args": arguments, "returns": ""}


def parse(doc, name):
    """The signatures in a docstring of pybind11 or Boost.Python. name: the function's, or empty for a getter."""
    found, lines = [], [line.strip() for line in doc.splitlines()]
    for line in lines:
        boost = BOOST.match(line)
        pybind = None if boost else PYBIND.match(line)
        if boost and boost.group(1) in (name, ""):
            found.append(_boost(boost.group(2), boost.group(3)))
        elif pybind and (not found or re.match(r"\d+\. ", line)) and "..." not in line.split("->")[0] or (
                not name and not found and line.startswith("(")):
            match = pybind or PYBIND.match("getter" + line)
            if match and (not name or match.group(1) in (name, "__init__")):
                found.append(_pybind(match.group(2), match.group(3) or ""))
    several = len(found) > 1 and found[0]["args"] and found[0]["args"][0][0] == "*args"
    return found[1:] if several else found  # the heading of overloaded functions says nothing


def _pybind(arguments, returns):
    parsed = []
    for text in _split(arguments):
        if text in ("*", "/"):
            continue
        head, _, default = text.partition(" = ")
        name, _, kind = head.partition(": ")
        if name.startswith("*"):
            parsed.append([name, "", None])
        else:
            parsed.append([None if re.match(r"arg\d+$", name) else name, _type(kind), default or None])
    if parsed and parsed[0][0] is None:  # without names, even self is arg0
        parsed[0][0] = "self"
    return {"args": parsed, "returns": _type(returns)}


def _boost(arguments, returns):
    """Boost.Python writes `memcpy( (object)dest [, (int)size=0])`; unnamed ones are arg1, arg2, optional ones in []."""
    parsed = []
    for text in re.findall(r"\[?,?\s*\([^)]*\)\s*\w+(?:\s*=\s*[^,\[\]]*)?", arguments):
        kind, name, default = re.match(r"\[?,?\s*\(([^)]*)\)\s*(\w+)(?:\s*=\s*(.*?))?\s*$", text).groups()
        parsed.append([None if re.match(r"arg\d+$", name) else name, kind.strip(),
                       default or ("?" if text.startswith("[") else None)])
    return {"args": parsed, "returns": returns}


def _split(arguments):
    """At the commas that are in no bracket and no quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in arguments:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += {"[": 1, "(": 1, "<": 1, "{": 1, "]": -1, ")": -1, ">": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _type(text):
    text = re.sub(r"\b(?:tensorrt\w*\.)+", "", text.strip())
    for long, short in TYPES.items():
        text = text.replace(long, short)
    return text


if __name__ == "__main__":
    sys.setrecursionlimit(10000)
    dumped = importlib.import_module(sys.argv[1])
    json.dump(dict(dump(dumped), version=getattr(dumped, "__version__", "")), sys.stdout, sort_keys=True)
