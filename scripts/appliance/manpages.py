"""scrapsort(1) from the argument parsers, scrapsort.toml(5) from the settings: `manpages.py TREE DATE FOLDER`.

In a process of its own, in which NumPy and OpenCV are stand-ins: the parsers do not need them, and a page is the same
wherever it is made.
"""

import argparse
import importlib
import os
import re
import sys
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from appliance import keys  # noqa: E402  # after its folder is on the path

STAND_INS = ("numpy", "cv2")
AFTER = """\
.SH EXIT STATUS
.TP
.B 0
done, also when stopped by a signal
.TP
.B 1
failed at run time
.TP
.B 2
wrong usage or settings
.PP
An error is one line on standard error: what, where, what to do.
.SH ENVIRONMENT
.TP
.B SCRAPSORT_CONFIG
the settings file, where \\-\\-config does not name one
.TP
.B STATE_DIRECTORY
the state folder, where \\-\\-state does not name one; systemd sets it
.SH FILES
.TP
.I /etc/scrapsort/scrapsort.toml
settings, see
.BR scrapsort.toml (5)
.TP
.I /var/lib/scrapsort
state of the service: journal.db, models, engines, queue
.TP
.I /opt/scrapsort
code, the model that ships, and its Python environment, which
.BR scrapsort\\-setup (8)
makes
.SH SEE ALSO
.BR scrapsort.toml (5),
.BR scrapsort\\-setup (8),
.BR systemctl (1),
/usr/share/doc/scrapsort
"""


def main():
    """Write FOLDER/scrapsort.1 and FOLDER/scrapsort.toml.5."""
    tree, date, folder = sys.argv[1:]
    for name, text in (("scrapsort.1", commands(tree, date)), ("scrapsort.toml.5", settings(tree, date))):
        with open(os.path.join(folder, name), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)


def commands(tree, date):
    """scrapsort(1)."""
    sys.path.insert(0, tree)
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in STAND_INS}):
        edge, cli = importlib.import_module("edge"), importlib.import_module("edge.cli")
        text = [_head("SCRAPSORT", 1, date, edge.__version__),
                ".SH NAME\nscrapsort \\- sorts scrap on a conveyor\n.SH SYNOPSIS\n.B scrapsort\n.I COMMAND\n"
                "[\\fIOPTION\\fR \\&...]\n.SH DESCRIPTION\n"
                "A camera sees the belt, a network says what each item is, a valve throws it into its bin, and a "
                "journal keeps every item. The service is started with\n.BR \"systemctl start scrapsort\" ;\n"
                "its user is scrapsort, and members of the group of that name may read its state and label.\n"
                ".SH COMMANDS\n"]
        for name, words in cli.COMMANDS:
            parser = argparse.ArgumentParser(prog="scrapsort " + name, description=words)
            importlib.import_module("edge.commands." + name).add(parser)
            text += _command(parser)
    return "".join(text) + AFTER


def settings(tree, date):
    """scrapsort.toml(5)."""
    text = [_head("SCRAPSORT.TOML", 5, date, _version(tree)),
            ".SH NAME\nscrapsort.toml \\- settings of scrapsort\n.SH SYNOPSIS\n.I /etc/scrapsort/scrapsort.toml\n"
            ".SH DESCRIPTION\nA file in TOML. The one of \\-\\-config is taken, else that of\n.BR $SCRAPSORT_CONFIG ,\n"
            "else /etc/scrapsort/scrapsort.toml if it is there, else the defaults. A key that scrapsort does not know "
            "is an error, never ignored. An option of the command line takes the place of the setting of its name.\n"]
    section = ""
    for key in keys.keys(tree):
        if key.section != section:
            section = key.section
            header = "[[{}]]" if section == "ejector.lane" else "[{}]"
            text.append(".SH {}\n".format(_roff(header.format(section))))
            if section == "ejector.lane":
                text.append("One such section for each valve.\n")
            if section == "decision":
                text.append("And\n.BR [decision.per_class] ,\nwhose keys are classes and whose values their "
                            "thresholds.\n")
        text.append(".TP\n.B {}\n".format(_roff(key.name)))
        text.append("".join(_roff(part) + "\n.br\n" for part in (key.words,) if part) + _roff(key.allowed) + "\n")
    return "".join(text) + ".SH SEE ALSO\n.BR scrapsort (1),\n/usr/share/doc/scrapsort\n"


def _command(parser):
    """A command's section, and those of what is below it."""
    text = [".SS {}\n{}\n".format(_roff(parser.prog), _roff(_sentence(parser.description or "")))]
    below, formatter = [], argparse.HelpFormatter(parser.prog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            words = {one.dest: one.help or "" for one in action._choices_actions}
            for name, one in action.choices.items():
                one.description = one.description or words.get(name)
                below.append(one)
        elif action.dest != "help" and action.help != argparse.SUPPRESS:
            value = _value(action)
            names = [_roff(name) for name in action.option_strings] or [_roff(value)]
            shown = ", ".join("\\fB{}\\fR".format(name) if action.option_strings else "\\fI{}\\fR".format(name)
                              for name in names)
            if action.option_strings and value:
                shown += " \\fI{}\\fR".format(_roff(value))
            words = formatter._expand_help(action) if action.help else "default: {}".format(action.default)
            text.append(".TP\n{}\n{}\n".format(shown, _roff(words)))
    for one in below:
        text += _command(one)
    return text


def _value(action):
    """What stands behind an option, or for an argument."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.choices is not None and not action.metavar:
        name = "|".join(map(str, action.choices))
    else:
        name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    return {"*": "[{} ...]", "+": "{} ...", "?": "[{}]"}.get(action.nargs, "{}").format(name)


def _head(title, section, date, version):
    return ".TH {} {} {} \"scrapsort {}\" \"scrapsort\"\n".format(title, section, date, version)


def _sentence(text):
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def _roff(text):
    """Text as troff shows it, on one line."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("’", "'")
    text = text.replace("~", "\\(ti").replace("^", "\\(ha").replace("`", "\\(ga").replace("'", "\\(aq")
    return "\\&" + text if text[:1] in (".", "'") else text


def _version(tree):
    with open(os.path.join(tree, "edge", "__init__.py"), encoding="utf-8") as file:
        return re.search(r'__version__ = "(.+)"', file.read()).group(1)


if __name__ == "__main__":
    main()
