"""The pages for people: their links lead somewhere, what they tell to type is understood, what they quote is said."""

import argparse
import ast
import csv
import io
import json
import os
import re
import shlex
import sys

import pytest
from helpers import REPOSITORY

import edge.errors
from benchmarks.__main__ import main as benchmarks_main
from edge.cli import main as scrapsort_main
from engines.__main__ import main as engines_main

PAGES = ["README.md"] + sorted("docs/" + name for name in os.listdir(os.path.join(REPOSITORY, "docs"))
                               if name.endswith(".md"))
QUOTING = ("docs/messages.md", "docs/recovery.md")
SAID_ELSEWHERE = ("status",)  # a condition that edge/commands/status.py makes up for a run that is silent


def read(page):
    with open(os.path.join(REPOSITORY, page), encoding="utf-8") as file:
        return file.read()


# ---------------------------------------------------------------- links

def anchors(text):
    """The names that GitHub gives to a page's headings."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page, text):
    """The links of a page, relative ones, that lead to no file or to no heading."""
    dead = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        leads = not path or os.path.exists(os.path.join(REPOSITORY, target))
        if not leads or (anchor and anchor not in anchors(text if target == page else read(target))):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    assert dead_links(page, read(page)) == []


def test_a_link_that_leads_nowhere_is_found():
    text = "# Here\n[a](gone.md) [b](belt.md) [c](#here) [d](#there) [e](belt.md#nowhere) [f](https://x.y/z)\n"
    assert dead_links("docs/page.md", text) == ["gone.md", "#there", "belt.md#nowhere"]


def test_every_page_is_reached_from_the_readme():
    reached = {os.path.basename(link) for link in re.findall(r"\]\((docs/[^)#]+\.md)", read("README.md"))}
    pages = {os.path.basename(page) for page in PAGES if page.startswith("docs/")}
    assert pages - reached <= {"tensorrt-conformance.md"}  # written by a command for those who change the backend


# ---------------------------------------------------------------- what is to be typed

class _ParsedError(Exception):
    """Takes the place of running: what the parser made of the words."""


def in_passing(text):
    """Commands of scrapsort in the sentences of a page, each as its words; they need not be whole."""
    text = re.sub(r"^```.*?^```|^    [^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    quotes = (" ".join(quote.split()) for quote in re.findall(r"`([^`]+)`", text))
    return [words for words in (own_words(quote) for quote in quotes)
            if words and len(words) > 1 and not words[1].startswith("…")]


def commands_of(text):
    """Commands in a page's code blocks that are scrapsort's, each as its words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"(?<=\n\n)((?:(?:    |\t)[^\n]*\n)+)", re.sub(r"^```.*?^```", "", text,
                                                                      flags=re.MULTILINE | re.DOTALL))
    found = []
    for block in blocks:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for part in re.split(r" (?:&&|\||>|>>|;) ", line.strip()):
                words = own_words(part)
                if words:
                    found.append(words)
    return found


def own_words(part):
    """The words of one command from the program on, None where it is no program of ours."""
    try:
        words = shlex.split(part, comments=True)
    except ValueError:  # a line of output
        return None
    while words and (words[0] == "sudo" or re.match(r"[A-Z_]+=", words[0])):
        words = words[3:] if words[1:2] == ["-u"] else words[1:]
    if not words:
        return None
    name = os.path.basename(words[0])
    if name.startswith("scrapsort") and name in ("scrapsort", "scrapsort-engines", "scrapsort-bench") or re.match(
            r"(\./)?scripts/", words[0]) or (words[:2] == ["python3", "-m"] and words[2].split(".")[0] in (
                "edge", "engines", "benchmarks", "trainer")):
        return words
    return None


def wrong_with(words, monkeypatch):
    """Why a command would not be understood; empty: it would. Nothing is run but the parser."""
    name = os.path.basename(words[0])
    if re.match(r"(\./)?scripts/", words[0]):
        return wrong_with_script(words)
    main, rest = {"scrapsort": (scrapsort_main, words[1:]), "scrapsort-engines": (engines_main, words[1:]),
                  "scrapsort-bench": (benchmarks_main, words[1:])}.get(name) or {
        "edge": (scrapsort_main, words[3:]), "engines": (engines_main, words[3:]),
        "benchmarks": (benchmarks_main, words[3:]), "trainer": (trainer_main, words[3:])}[words[2]]
    if rest in ([], ["--help"], ["--version"]):
        return ""
    parse, make = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.__init__

    def parse_only(parser, args=None, namespace=None):
        parse(parser, args, namespace)
        raise _ParsedError
    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "__init__", lambda parser, *args, **keywords: make(
            parser, *args, **dict(keywords, allow_abbrev=False)))  # a page writes options out
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        patched.setattr(sys, "argv", [name] + rest)
        patched.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))  # a command line may take it apart
        patched.setattr(sys, "stderr", io.StringIO())
        try:
            main() if main in (engines_main, benchmarks_main) else main(rest)
        except _ParsedError:
            return ""
        except SystemExit:
            return sys.stderr.getvalue().strip() or "ends"
    return "not parsed"


def trainer_main(words):
    from trainer.cli import main
    return main(words)


def wrong_with_script(words):
    """Of a script: whether it is there, and whether its options stand in its source, or in what it runs."""
    path = os.path.normpath(words[0])
    if not os.access(os.path.join(REPOSITORY, path), os.X_OK):
        return "no such script"
    source = read(path)
    for module in re.findall(r"from appliance import (\w+)", source):
        source += read(os.path.join("scripts", "appliance", module + ".py"))
    if "benchmarks.suite" in source:
        source += read("benchmarks/suite.py")
    if os.path.basename(path) == "test":
        return ""  # pytest's own options go through
    unknown = [word for word in words[1:] if word.startswith("--") and not re.search(
        r"""["' ]{}\b""".format(re.escape(word.partition("=")[0])), source)]
    return "unknown: {}".format(", ".join(unknown)) if unknown else ""


def placeholders_as_values(words):
    """SRC, FILE, DIR and … as something that any option takes."""
    return [word for word in words if word not in ("…", "...")]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_tells_to_type_is_understood(page, monkeypatch):
    whole, passing = commands_of(read(page)), in_passing(read(page))
    if sys.version_info < (3, 10):
        print("left out: commands of the trainer, which needs a newer Python")
        whole, passing = ([words for words in some if words[2:3] != ["trainer"]] for some in (whole, passing))
    wrong = {" ".join(words): wrong_with(placeholders_as_values(words), monkeypatch) for words in whole}
    for words in passing:
        why = wrong_with(placeholders_as_values(words), monkeypatch)
        wrong[" ".join(words)] = "" if re.search(r"(is|are) required|expected (at least )?one argument", why) else why
    assert {command: why for command, why in wrong.items() if why} == {}


def test_the_pages_tell_enough_to_type():
    assert sum(len(commands_of(read(page))) for page in PAGES) > 80
    assert sum(len(in_passing(read(page))) for page in PAGES) > 60


@pytest.mark.parametrize("line", [
    "scrapsort runn --source a", "scrapsort run --sauce a", "scrapsort run --limit many", "scrapsort model install a",
    "sudo -u scrapsort scrapsort review label one glass", "python3 -m engines build --precision fp8",
    "python3 -m benchmarks belt --ejekt", "python3 -m benchmarks nothing", "scripts/nothing here",
    "scripts/build-deb --wheelz 3.8", "A=1 python3 -m edge status --form json | grep camera",
    "/opt/scrapsort/bin/scrapsort-engines verify --statte b"])
def test_what_would_not_be_understood_is_found(line, monkeypatch):
    for form in ("\n\n    {}\n\n", "```sh\n{}\n```\n", "\n\n    cd /tmp && {}\n"):
        words, = commands_of(form.format(line))
        assert wrong_with(words, monkeypatch), line
    words, = in_passing("so `{}` does\n".format(line.partition(" |")[0]))
    assert wrong_with(words, monkeypatch), line


# ---------------------------------------------------------------- what is quoted

def sources():
    """(path, tree) of each module of edge and engines."""
    for folder in ("edge", "engines"):
        for path, _, names in os.walk(os.path.join(REPOSITORY, folder)):
            for name in sorted(names):
                if name.endswith(".py"):
                    full = os.path.join(path, name)
                    with open(full, encoding="utf-8") as file:
                        yield full, ast.parse(file.read())


def text_of(node):
    """The constant text of an expression, also of TEXT.format(…); None where there is none."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        node = node.func.value
    field = next((name for name in ("value", "s") if name in node._fields), "")  # s: before Python 3.8
    value = getattr(node, field, None)
    return value if isinstance(value, str) else None


@pytest.fixture(scope="module")
def said():
    """Every text constant of the code, what varies in it as …"""
    texts = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            text = text_of(node)
            if text:
                texts.add(" ".join(re.sub(r"\{[^{}]*\}|%[-0-9.]*[sdrgf]|%%", "…", text).split()))
    return "\n".join(sorted(texts))


def first_cells(page):
    """What stands in backticks in the first column of a page's tables."""
    cells = re.findall(r"^\| *(`.*?) \|", page, re.MULTILINE)
    return [quote for cell in cells for quote in re.findall(r"`([^`]+)`", cell)]


def unsaid(quote, said):
    """The pieces of a quote, between what varies, that the code never says."""
    pieces = [piece.strip() for piece in quote.split("…")]
    return [piece for piece in pieces if len(piece) > 3 and piece not in said]


@pytest.mark.parametrize("page", QUOTING)
def test_every_line_that_is_quoted_is_said_by_the_code(page, said):
    quotes = first_cells(read(page))
    assert len(quotes) > 15
    assert {quote: unsaid(quote, said) for quote in quotes if unsaid(quote, said)} == {}


def test_a_quote_that_nothing_says_is_found(said):
    assert first_cells("| `a …` | `b` |\n|---|---|\n| x `c` | d |\n") == ["a …"]
    assert unsaid("settings: read anew, nothing has changed", said) == []
    assert unsaid("settings: read anew, … has changed at all", said) == ["has changed at all"]


def conditions():
    """The names that the code gives to condition(); of one that is put together, its beginning."""
    names = set()
    for path, tree in sources():
        constants = {node.targets[0].id: text_of(node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign)
                     and isinstance(node.targets[0], ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "").lstrip("_") == "condition" and node.args:
                first = node.args[0]
                name = constants.get(first.id) if isinstance(first, ast.Name) else text_of(first)
                assert name, "{}:{}: the name of a condition is not told".format(path, node.lineno)
                names.add(name.partition("{")[0].strip())
    return names


def test_every_condition_stands_in_the_page():
    section = read("docs/messages.md").partition("## Conditions\n")[2].partition("\n## ")[0]
    listed = {quote.replace("…", "").strip() for quote in first_cells(section)}
    names = conditions()
    assert {"camera", "journal", "output", "backend", "loop", "temperature"} <= names
    assert listed == names | set(SAID_ELSEWHERE)


def test_every_status_stands_in_the_page():
    section = read("docs/messages.md").partition("## The Status line")[2].partition("\n## ")[0]
    listed = first_cells(section)
    found = 0
    for _, tree in sources():
        for node in ast.walk(tree):
            name = getattr(getattr(node, "func", None), "attr", "")
            text = text_of(node.args[0]) if name in ("status", "stopping") and node.args else None
            if text:
                found += 1
                assert any(one.startswith(text.partition("{")[0].strip()) for one in listed), text
    assert found >= 3


def test_every_error_stands_in_the_page_with_its_exit_code():
    section = read("docs/messages.md").partition("## Errors and exit codes\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", section, re.MULTILINE))
    kinds = {name: kind for name, kind in vars(edge.errors).items() if isinstance(kind, type)
             and issubclass(kind, edge.errors.ScrapsortError)}
    assert rows == {name: str(kind.exit_code) for name, kind in kinds.items()}


# ---------------------------------------------------------------- what is to be run

def test_labelled_pictures_go_to_the_folder_of_their_class(tmp_path, monkeypatch):
    code, = re.findall(r"^```python\n(.*?)^```", read("docs/models.md"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1-7.png").write_bytes(b"seven")
    with open("queue.csv", "w", encoding="utf-8", newline="") as file:
        from edge.journal.exports import LOG_COLUMNS
        writer = csv.DictWriter(file, LOG_COLUMNS, restval="")
        writer.writeheader()
        writer.writerow({"image_path": str(tmp_path / "1-7.png"), "predicted_class": "glass", "correct_class": "metal"})
        writer.writerow({"image_path": str(tmp_path / "1-7.png"), "predicted_class": "glass"})  # nobody has said
        writer.writerow({"image_path": "/dev/video0#9", "correct_class": "glass"})  # its picture was not kept
    exec(compile(code, "docs/models.md", "exec"), {})
    assert [p.relative_to(tmp_path).as_posix() for p in sorted((tmp_path / "materials").rglob("*.*"))] == [
        "materials/metal/plant-1-7.png"]


def test_the_readme_s_figures_are_the_bundle_s_and_the_report_s():
    with open(os.path.join(REPOSITORY, "models", "trashnet-resnet18", "manifest.json"), encoding="utf-8") as file:
        accuracy = json.load(file)["metrics"]["roles"]["fp16"]["accuracy"]
    said = " ".join(read("README.md").split())
    assert "names {:.1f} % of TrashNet's test pictures rightly".format(100 * accuracy) in said
    accepted, right = re.search(r"of (\d+) that it accepted of other photographs, (\d+) were right", said).groups()
    report = read("docs/performance/performance_report.md")
    assert re.search(r"^\| fp16 +\| +85 \|.*\| +{} \| +{} \|".format(accepted, right), report, re.MULTILINE)


@pytest.mark.parametrize("page", ["belt", "ejection"])
def test_what_the_belt_showed_was_shown_with_the_bundle_that_ships(page):
    with open(os.path.join(REPOSITORY, "models", "trashnet-resnet18", "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    assert "with {name} {version},".format(**manifest) in read("docs/performance/{}.md".format(page)), (
        "measure again: the command stands in the page")
