"""One line of what doctor reports."""

from typing import NamedTuple

OK, NOTE, WRONG = "ok", "note", "wrong"


class Finding(NamedTuple):
    """level: ok; note, slower or poorer than it could be; wrong, keeps `run` from working as it is set."""

    level: str
    what: str
    value: str
    remedy: str = ""  # a command or a step a line
