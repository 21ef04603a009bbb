"""Every setting with its unit, range, default and words: scrapsort.toml as it is installed, and scrapsort.toml(5).

Names, defaults and ranges are those of edge/settings.py; the words are those of the listings in docs/operating.md and
docs/ejectors.md, so that there is one place to write them.
"""

import importlib
import json
import os
import re
import sys
import textwrap
from collections import namedtuple

# words: what it is for, may be empty; allowed: unit and range
Key = namedtuple("Key", "section name default allowed words")

HEAD = """\
# scrapsort's settings. Every key stands here with its unit, its range and its default, commented out: take the # away
# to set one. After a change: systemctl reload-or-restart scrapsort. What is wrong here is told in one line by
# `scrapsort doctor`. The same in man scrapsort.toml(5); more in /usr/share/doc/scrapsort.

"""
PAGES = ("operating.md", "ejectors.md")
UNITS = {"fps": "frames a second", "width": "pixels", "height": "pixels", "region": "pixels", "line": "share",
         "threshold": "probability", "views": "views", "commit_items": "items", "pixels_per_metre": "pixels a metre",
         "encoder_pulses_per_metre": "pulses a metre"}
ENDINGS = (("_mps", "metres a second"), ("_per_metre", "a metre"), ("_ms", "milliseconds"),
           ("_mb", "MB of 1,000,000 bytes"), ("_px", "pixels"), ("_deg", "degrees"), ("_days", "days"),
           ("_hours", "hours"), ("_s", "seconds"), ("_m", "metres"), ("_k", "kelvin"), ("_c", "degrees Celsius"),
           ("_w", "watts"), ("_pct", "per cent"))


def keys(tree):
    """All settings of the scrapsort in the folder tree, as Keys, in the order of the settings page."""
    settings = _settings(tree)
    words = {}
    for page in PAGES:
        with open(os.path.join(tree, "docs", page), encoding="utf-8") as file:
            for name, one in listing(file.read()).items():
                words.setdefault(name, one)
    found = []
    for section, kind in settings.SECTIONS.items():
        for name, default in kind()._asdict().items():
            if isinstance(default, dict) or name == "lane":
                continue  # tables of their own
            found.append(_key(settings, section, name, default, words))
    for name, default in settings.Lane()._asdict().items():
        found.append(_key(settings, "ejector.lane", "class" if name == "class_name" else name, default, words))
    return found


def listing(page):
    """{(section, key): words} of the settings that a page of Markdown lists as TOML, with a comment behind each."""
    words, section, last = {}, "", None
    for line in page.splitlines():
        text = line[4:] if line.startswith("    ") and not re.match(r" +#", line) else line
        header = re.match(r"\[+([\w.]+)\]+(?: +#.*)?$", text)
        key = re.match(r"(\w+) = (?:\"[^\"]*\"|\[[^]]*\]|[^\s#]+)(?: +# ?(.*))?$", text)
        more = re.match(r" +# ?(.*)$", line)
        if header:
            section, last = header.group(1), None
        elif key and section:
            last = (section, key.group(1))
            words.setdefault(last, key.group(2) or "")
        elif more and last:
            words[last] = (words[last] + " " + more.group(1)).strip()
        else:
            last = None
            section = "" if line.startswith(("```", "#")) and not line.startswith("# ") else section
    return words


def conffile(tree):
    """/etc/scrapsort/scrapsort.toml: every key with its unit, range and default, commented out."""
    text, section = [HEAD], ""
    for key in keys(tree):
        if key.section != section:
            if section == "decision":
                text.append("# Thresholds by class, such as plastic = 0.9; probability, from 0.0 to 1.0; default: "
                            "none\n[decision.per_class]\n\n")
            section = key.section
            if section == "ejector.lane":
                text.append("# One such section for each valve; take the # away from its first line, too.\n"
                            "#[[ejector.lane]]\n")
            else:
                text.append("[{}]\n".format(section))
        for paragraph in (key.words, key.allowed):
            if paragraph:
                text.append("".join("# {}\n".format(line) for line in textwrap.wrap(paragraph, 116)))
        text.append("#{} = {}\n\n".format(key.name, toml(key.default)))
    return "".join(text).replace("\n\n\n", "\n\n")


def toml(value):
    """A default as it stands in a TOML file."""
    if isinstance(value, (tuple, list)):
        return "[{}]".format(", ".join(map(toml, value)))
    return json.dumps(value, ensure_ascii=False)


def _key(settings, section, name, default, words):
    key = "class_name" if name == "class" else name
    allowed = settings.RANGES.get((section, key))
    unit = UNITS.get(name) or next((unit for ending, unit in ENDINGS if name.endswith(ending)), "")
    if isinstance(default, bool):
        text = "true or false"
    elif isinstance(default, str):
        text = "one of: " + ", ".join(allowed) if allowed else "a text"
    elif isinstance(default, (tuple, list)):
        text = "{} numbers, not negative{}".format(len(default), ", the smaller first" if len(default) == 2 else "")
    elif allowed and len(allowed) > 2:
        text = "one of: " + ", ".join(map(str, allowed))
    else:
        text = "from {} to {}".format(*allowed) if allowed else ""
    text = "; ".join(part for part in (unit, text) if part)
    return Key(section, name, default, "{}; default: {}".format(text, toml(default)), words.get((section, name), ""))


def _settings(tree):
    """edge.settings of a tree, whatever other one was imported before."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "edge"}
    sys.path.insert(0, tree)
    try:
        return importlib.import_module("edge.settings")
    finally:
        sys.path.remove(tree)
        for name in [name for name in sys.modules if name.split(".")[0] == "edge"]:
            del sys.modules[name]
        sys.modules.update(kept)
