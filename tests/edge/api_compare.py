"""Holds a call, or a double, against what a module really offers (in the form of api_dump)."""

ALIKE = {"int": ("int", "integer"), "float": ("float", "int", "floating", "integer"), "bool": ("bool", "bool_"),
         "str": ("str",), "List": ("list", "tuple"), "Dims": ("list", "tuple", "Dims"),
         "buffer": ("bytes", "bytearray", "memoryview", "ndarray", "IHostMemory", "HostMemory")}


def member_of(api, name, member):
    """What a class, or "" for the module, or one of its bases has by that name; None: nothing."""
    entry = api["classes"].get(name)
    if entry is None:
        return None
    for owner in [name, *entry["bases"]]:
        found = api["classes"][owner]["members"].get(member)
        if found is not None:
            return found
    return None


def is_enum(api, name):
    """Whether a class is there for its values."""
    members = api["classes"].get(name, {"members": {}})["members"]
    return any(member["kind"] == "value" for member in members.values())


def refuses(api, signatures, positional, keywords):
    """Why no signature takes a call, or None when one does.

    positional: for each argument the names of its type and its bases, or None where they are not known; keywords the
    same by name.
    """
    reasons = [_refuses(api, signature["args"], positional, keywords) for signature in signatures]
    return None if None in reasons or not reasons else reasons[-1]


def _refuses(api, arguments, positional, keywords):
    if any(str(argument[0]).startswith("*") for argument in arguments):
        return None
    if len(positional) > len(arguments):
        return "takes {} arguments, not {}".format(len(arguments), len(positional))
    given = dict(zip(range(len(positional)), positional))
    names = [name for name, _, _ in arguments]
    for keyword, kinds in keywords.items():
        if keyword not in names[len(positional):]:
            return "takes no {}=".format(keyword)
        given[names.index(keyword)] = kinds
    for number, (name, kind, default) in enumerate(arguments):
        if number not in given:
            if default is None:
                return "needs {}".format(name)
        elif not _fits(api, kind, given[number], default):
            return "{}: {} is no {}".format(name or number, given[number][0], kind)
    return None


def _fits(api, kind, given, default):
    if given is None or kind in ("", "object") or given[0] == "NoneType" and default in ("None", "nullptr"):
        return True
    kind = kind.split("[")[0].strip()
    if kind in ALIKE:
        return any(name in ALIKE[kind] or name.startswith("int") and kind == "int" for name in given)
    if kind not in api["classes"] or is_enum(api, kind):  # the doubles' enums are plain integers
        return True
    return kind in given or given[0] == "NoneType"


def differences(double, real):
    """What a double has that the real module has not, or has otherwise: a line each, empty when it is true to it."""
    found = []
    for name, entry in sorted(double["classes"].items()):
        if name and name not in real["classes"]:
            found.append("{}: there is no such class".format(name))
            continue
        for member, mine in sorted(entry["members"].items()):
            words = _difference(name, member, mine, member_of(real, name, member), real)
            if words:
                found.append("{}: {}".format(".".join(part for part in (name, member) if part), words))
    return found


def _difference(name, member, mine, theirs, real):
    if theirs is None:
        return "" if _of_the_double_alone(member, mine) else "the real one has none"
    if mine["kind"] != theirs["kind"] and {mine["kind"], theirs["kind"]} != {"property", "value"}:
        return "is a {}, the real one a {}".format(mine["kind"], theirs["kind"])
    if mine.get("settable") and not mine.get("plain") and theirs.get("settable") is False:
        return "can be set, the real one cannot"
    if mine["kind"] != "method" or not theirs["signatures"]:
        return ""
    if member == "__init__" and not name.startswith(CONSTRUCTED):
        return ""  # such objects come from another's method
    reasons = [_narrower(signature["args"], theirs["signatures"]) for signature in mine["signatures"]]
    return "; ".join(reason for reason in reasons if reason)


ALONE = ("counters",)  # of pycuda's double, for tests; no function whose docstring could say so
CONSTRUCTED = ("Logger", "ILogger", "Builder", "Runtime", "OnnxParser", "Stream", "Event", "Device", "IProgressMonitor")


def _of_the_double_alone(member, mine):
    return mine.get("alone", False) or member in ("__init__", "__bytes__") + ALONE


def _narrower(arguments, signatures):
    """Whether what the double takes is taken by one of the real signatures, under the same names and defaults."""
    reasons = []
    for signature in signatures:
        wanted = signature["args"]
        if any(str(name).startswith("*") for name, _, _ in wanted):
            return ""
        reasons.append(_first_difference(arguments, wanted))
    return "" if "" in reasons else reasons[0]


def _first_difference(arguments, wanted):
    if len(arguments) > len(wanted):
        return "takes {} arguments, the real one {}".format(len(arguments), len(wanted))
    for (mine, _, my_default), (theirs, _, default) in zip(arguments, wanted):
        if theirs is not None and mine != theirs:
            return "calls an argument {}, the real one {}".format(mine, theirs)
        if my_default is not None and default is None:
            return "can do without {}, the real one cannot".format(mine)
    missing = [name for name, _, default in wanted[len(arguments):] if default is None]
    return "does without {}, the real one does not".format(missing[0]) if missing else ""
