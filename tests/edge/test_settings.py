"""scrapsort.toml: every mistake is one line with file, key, value, what is allowed and the nearest name."""

import os
import re
import subprocess
import sys
import textwrap

import pytest
from helpers import REPOSITORY

from edge import settings as settings_module
from edge.errors import SettingsError, UsageError
from edge.settings import Settings, load, naming, override, parse, state_folder

# The design page's "Settings, whole", for the keys that exist
DEFAULTS = {
    "source": {"uri": "sim:", "interval_s": 0.0, "watch": False, "width": 1280, "height": 720, "fps": 30.0,
               "region": (0, 0, 0, 0), "rotate_deg": 0, "exposure_ms": 0.0, "white_balance_k": 0, "stall_s": 5.0,
               "reopen_backoff_s": (0.5, 30.0)},
    "gate": {"mode": "auto", "line": 0.5, "direction": "left", "views": 3, "min_area_px": 900, "belt_speed_mps": 0.0,
             "pixels_per_metre": 0.0, "trigger": "", "trigger_delay_ms": 0.0, "encoder": "",
             "encoder_pulses_per_metre": 0.0},
    "model": {"bundle": "", "backend": "auto", "precision": "auto", "cuda_memory": "copy"},
    "decision": {"threshold": 0.0, "stranger": True, "per_class": {}},
    "journal": {"state": "", "commit_s": 1.0, "commit_items": 32, "keep_days": 90, "keep_rows_mb": 2000,
                "keep_pictures_mb": 2000, "keep_free_mb": 500},
    "review": {"override": False, "active_learning": False},
    "health": {"watchdog": True, "max_temp_c": 90.0},
    "ejector": {"enabled": False, "min_gap_ms": 20.0, "late_ms": 20.0, "overlap": "merge", "lane": ()},
}


def toml(tmp_path, text):
    path = tmp_path / "scrapsort.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return str(path)


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch, tmp_path):
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", str(tmp_path / "etc" / "scrapsort.toml"))


def test_defaults_are_those_of_the_design_page():
    settings = Settings()
    assert set(settings._fields) == set(DEFAULTS) | {"file"}
    for section, values in DEFAULTS.items():
        assert getattr(settings, section)._asdict() == values
    assert load(environ={}) == settings and settings.file == ""


def test_every_value_is_read(tmp_path):
    path = toml(tmp_path, """
        [source]
        uri = "/belt/größe"
        interval_s = 2
        watch = true
        width = 1920
        height = 1080
        fps = 60
        rotate_deg = 90
        exposure_ms = 2.5
        white_balance_k = 5600
        stall_s = 2
        reopen_backoff_s = [1, 10.5]
        region = [10, 20, 300, 200]
        [gate]
        mode = "belt"
        line = 0.25
        direction = "up"
        views = 2
        min_area_px = 400
        belt_speed_mps = 0.5
        pixels_per_metre = 1600
        trigger = "gpio:7"
        trigger_delay_ms = 12
        encoder = "modbus:plc/40"
        encoder_pulses_per_metre = 1000
        [ejector]
        enabled = true
        min_gap_ms = 15
        late_ms = 5
        overlap = "queue"
        [[ejector.lane]]
        class = "plastic"
        bin = 1
        output = "gpio:17"
        distance_m = 0.8
        latency_ms = 12
        pulse_ms = 50.5
        [[ejector.lane]]
        class = "review"
        [model]
        bundle = "b.tar"
        backend = "onnxruntime"
        precision = "fp16"
        cuda_memory = "mapped"
        [decision]
        threshold = 1
        stranger = false
        [decision.per_class]
        plastic = 0.9
        glass = 0
        [journal]
        state = "/var/x"
        commit_s = 0.25
        commit_items = 8
        keep_days = 7
        keep_rows_mb = 64
        keep_pictures_mb = 100
        keep_free_mb = 0
        [review]
        override = true
        active_learning = true
        """)
    settings = load(path, {})
    assert settings.file == path
    assert settings.source == ("/belt/größe", 2.0, True, 1920, 1080, 60.0, (10, 20, 300, 200), 90, 2.5, 5600, 2.0,
                               (1.0, 10.5))
    assert type(settings.source.interval_s) is float
    assert settings.gate == ("belt", 0.25, "up", 2, 400, 0.5, 1600.0, "gpio:7", 12.0, "modbus:plc/40", 1000.0)
    assert settings.ejector == (True, 15.0, 5.0, "queue", (("plastic", 1, "gpio:17", 0.8, 12.0, 50.5),
                                                      ("review", 0, "log:", 0.0, 0.0, 60.0)))
    assert settings.model == ("b.tar", "onnxruntime", "fp16", "mapped")
    assert settings.decision == (1.0, False, {"plastic": 0.9, "glass": 0.0})
    assert settings.journal == ("/var/x", 0.25, 8, 7, 64, 100, 0)
    assert settings.review == (True, True)


def test_what_a_file_leaves_out_keeps_its_default(tmp_path):
    settings = load(toml(tmp_path, "[journal]\ncommit_items = 1\n"), {})
    assert settings == Settings(file=settings.file)._replace(journal=Settings().journal._replace(commit_items=1))


BAD = [
    # word on the case, text of the file, what the line must name
    ("text for a number", "[source]\ninterval_s = '2'", ["source.interval_s", "'2'", "a number"]),
    ("bool for a number", "[source]\ninterval_s = true", ["source.interval_s", "True", "a number"]),
    ("negative", "[source]\ninterval_s = -0.1", ["source.interval_s", "-0.1", "0.0", "86400.0"]),
    ("too large", "[source]\ninterval_s = 86401", ["source.interval_s", "86401", "86400.0"]),
    ("not a number", "[source]\ninterval_s = nan", ["source.interval_s", "nan", "86400.0"]),
    ("infinite", "[source]\ninterval_s = inf", ["source.interval_s", "inf", "86400.0"]),
    ("beyond any float", "[source]\ninterval_s = 1" + "0" * 400, ["source.interval_s", "86400.0"]),
    ("number for a text", "[source]\nuri = 5", ["source.uri", "5", "text"]),
    ("text for a bool", "[source]\nwatch = 'yes'", ["source.watch", "'yes'", "true or false"]),
    ("number for a bool", "[source]\nwatch = 1", ["source.watch", "1", "true or false"]),
    ("list for a text", "[source]\nuri = ['a']", ["source.uri", "['a']", "text"]),
    ("unknown key", "[source]\nintervall_s = 1", ["source.intervall_s", "did you mean interval_s", "watch"]),
    ("unknown key, nothing near", "[source]\nzzz = 1", ["source.zzz", "allowed: uri, interval_s, watch"]),
    ("a rate of 0", "[source]\nfps = 0", ["source.fps", "0", "from 1.0 to 1000.0"]),
    ("rotation in between", "[source]\nrotate_deg = 45", ["source.rotate_deg", "45", "0, 90, 180, 270"]),
    ("pauses that shrink", "[source]\nreopen_backoff_s = [5, 1]", ["source.reopen_backoff_s", "growing numbers"]),
    ("number for a switch", "[decision]\nstranger = 0", ["decision.stranger", "0", "true or false"]),
    ("a score for a switch", "[decision]\nstranger = 'energy'", ["decision.stranger", "'energy'", "true or false"]),
    ("negative days", "[journal]\nkeep_days = -1", ["journal.keep_days", "-1", "0", "36500"]),
    ("negative rows", "[journal]\nkeep_rows_mb = -1", ["journal.keep_rows_mb", "-1", "0"]),
    ("negative pictures", "[journal]\nkeep_pictures_mb = -1", ["journal.keep_pictures_mb", "-1", "0"]),
    ("a number for an address", "[gate]\ntrigger = 7", ["gate.trigger", "7", "text"]),
    ("lanes as a table", "[ejector]\nlane = {class = 'glass'}", ["ejector.lane", "[[ejector.lane]]"]),
    ("a lane without class", "[[ejector.lane]]\nbin = 1", ["ejector.lane 1 has no class"]),
    ("a lane twice", "[[ejector.lane]]\nclass = 'a'\n[[ejector.lane]]\nclass = 'a'", ["lane 2", "'a'", "one lane"]),
    ("unknown key of a lane", "[[ejector.lane]]\nclass = 'a'\npulse = 1",
     ["ejector.lane.pulse", "lane 1", "did you mean pulse_ms"]),
    ("the field's name", "[[ejector.lane]]\nclass_name = 'a'", ["ejector.lane.class_name", "did you mean class"]),
    ("a pulse of 0", "[[ejector.lane]]\nclass = 'a'\npulse_ms = 0", ["ejector.lane.pulse_ms", "from 1.0"]),
    ("unknown rule", "[ejector]\noverlap = 'both'", ["ejector.overlap", "allowed: merge, queue"]),
    ("unknown mode", "[gate]\nmode = 'blet'", ["gate.mode", "did you mean belt"]),
    ("unknown direction", "[gate]\ndirection = 'rigth'", ["gate.direction", "did you mean right"]),
    ("negative speed", "[gate]\nbelt_speed_mps = -0.5", ["gate.belt_speed_mps", "-0.5", "from 0.0 to 10.0"]),
    ("line at the edge", "[gate]\nline = 1.0", ["gate.line", "1.0", "0.9"]),
    ("no views", "[gate]\nviews = 0", ["gate.views", "0", "1", "8"]),
    ("region of three", "[source]\nregion = [1, 2, 3]", ["source.region", "[1, 2, 3]", "4 whole numbers"]),
    ("region below 0", "[source]\nregion = [-1, 2, 3, 4]", ["source.region", "-1", "from 0 on"]),
    ("half pixels", "[source]\nregion = [0, 0, 10.5, 4]", ["source.region", "10.5", "whole numbers"]),
    ("region as text", "[source]\nregion = 'all'", ["source.region", "'all'", "whole numbers"]),
    ("too hot a limit", "[health]\nmax_temp_c = 900", ["health.max_temp_c", "900.0", "from 0.0 to 150.0"]),
    ("unknown section", "[sorce]\nuri = 'x'", ["[sorce]", "did you mean source"]),
    ("key outside a section", "uri = 'sim:'", ["[uri]", "allowed: source, gate, model, decision, ejector, journal"]),
    ("value for a section", "source = 'sim:'", ["source", "'sim:'", "a section [source]"]),
    ("list for a section", "[[source]]\nuri = 'sim:'", ["source", "a section [source]"]),
    ("unknown backend", "[model]\nbackend = 'onnxruntme'", ["model.backend", "did you mean onnxruntime", "auto"]),
    ("unknown precision", "[model]\nprecision = 'fp61'", ["model.precision", "'fp61'", "did you mean fp16", "int8"]),
    ("number for a choice", "[model]\nprecision = 16", ["model.precision", "16", "text"]),
    ("threshold in percent", "[decision]\nthreshold = 70", ["decision.threshold", "70.0", "0.0", "1.0"]),
    ("threshold below", "[decision]\nthreshold = -0.01", ["decision.threshold", "-0.01", "1.0"]),
    ("per_class no section", "[decision]\nper_class = 0.9", ["decision.per_class", "0.9", "[decision.per_class]"]),
    ("per_class out of range", "[decision.per_class]\nglass = 1.1", ["decision.per_class.glass", "1.1", "1.0"]),
    ("per_class text", "[decision.per_class]\nglass = 'a'", ["decision.per_class.glass", "'a'", "1.0"]),
    ("per_class bool", "[decision.per_class]\nglass = true", ["decision.per_class.glass", "True", "1.0"]),
    ("per_class nan", "[decision.per_class]\nglass = nan", ["decision.per_class.glass", "nan", "1.0"]),
    ("commits too rare", "[journal]\ncommit_s = 1.5", ["journal.commit_s", "1.5", "0.0", "1.0"]),
    ("groups too large", "[journal]\ncommit_items = 33", ["journal.commit_items", "33", "1", "32"]),
    ("groups of none", "[journal]\ncommit_items = 0", ["journal.commit_items", "0", "1", "32"]),
    ("half an item", "[journal]\ncommit_items = 1.5", ["journal.commit_items", "1.5", "whole number"]),
    ("negative disk", "[journal]\nkeep_free_mb = -1", ["journal.keep_free_mb", "-1", "0", "10000000"]),
    ("date for a text", "[journal]\nstate = 2026-11-22", ["journal.state", "text"]),
    ("text for a bool", "[review]\noverride = 'true'", ["review.override", "'true'", "true or false"]),
    ("later and misspelt", "[review]\noveride = true", ["review.overide", "did you mean override"]),
    ("no TOML", "[source\nuri", ["not valid TOML"]),
    ("key twice", "[review]\noverride = true\noverride = true", ["not valid TOML"]),
    ("unquoted text", "[source]\nuri = sim:", ["not valid TOML", "line 2"]),
    ("not UTF-8", b"[source]\nuri = \"gr\xf6\xdfe\"", ["not valid TOML", "utf-8"]),
    ("NUL bytes", b"\0\0\0\0", ["not valid TOML"]),
    ("nested without end", "a = " + "[" * 100000, ["not valid TOML"]),
    ("a line break in a key", '[source]\n"a\\nb" = 1', ["a\\nb", "allowed: uri"]),
    ("a line break in a section", '["a\\nb"]', ["a\\nb", "allowed: source"]),
    ("a line break in a class", '[decision.per_class]\n"a\\nb" = 2', ["a\\nb", "1.0"]),
    ("a line break in a value", '[model]\nbackend = "a\\nb"', ["model.backend", "a\\nb"]),
]


@pytest.mark.parametrize("word, text, names", BAD, ids=[case[0] for case in BAD])
def test_a_mistake_is_one_line(tmp_path, word, text, names):
    path = toml(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    message = str(caught.value)
    assert message.startswith(path + ": ") and len(message.splitlines()) == 1, message
    for name in names:
        assert name in message[len(path):]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("file, said, expected", [
    ("a.toml", "[gate] trigger: wrong", "a.toml: [gate] trigger: wrong"),
    ("a.toml", "a.toml: gate.line: wrong", "a.toml: gate.line: wrong"),  # once is enough
    ("", "[gate] mode: wrong", "[gate] mode: wrong")])
def test_what_is_found_wrong_later_names_the_file_too(file, said, expected):
    with pytest.raises(SettingsError) as caught, naming(Settings(file=file)):
        raise SettingsError(said)
    assert str(caught.value) == expected


def test_other_errors_are_not_of_the_settings():
    with pytest.raises(UsageError) as caught, naming(Settings(file="a.toml")):
        raise UsageError("--watch")
    assert str(caught.value) == "--watch" and type(caught.value) is UsageError


def test_only_later_keys_are_said_to_come(tmp_path):
    for text in ("[source]\nfpss = 30", "[sources]\nfps = 30", "[journal]\nfps = 30"):
        with pytest.raises(SettingsError) as caught:
            load(toml(tmp_path, text), {})
        assert "later version" not in str(caught.value)


def test_every_key_of_the_design_is_there_or_named_as_later():
    design = {"source": "uri interval_s watch width height fps region rotate_deg stall_s reopen_backoff_s",
              "model": "bundle backend precision", "decision": "threshold stranger per_class",
              "journal": "state commit_s commit_items keep_days keep_pictures_mb keep_free_mb",
              "review": "override active_learning"}
    for section, keys in design.items():
        for key in keys.split():
            if key not in getattr(Settings(), section)._fields:
                with pytest.raises(SettingsError, match="later version"):
                    parse({section: {key: 1}}, "f")


def test_edges_of_ranges_are_allowed():
    settings = parse({"source": {"interval_s": 86400}, "decision": {"threshold": 1, "per_class": {"a": 0, "b": 1}},
                      "journal": {"commit_s": 0, "commit_items": 32, "keep_free_mb": 0}}, "f")
    assert settings.source.interval_s == 86400.0 and settings.journal.commit_items == 32


@pytest.mark.parametrize("name, remedy", [("missing.toml", "No such file"), (".", "directory")])
def test_a_file_that_cannot_be_read(tmp_path, name, remedy):
    path = str(tmp_path / name)
    for given, environ in ((path, {}), (None, {"SCRAPSORT_CONFIG": path})):
        with pytest.raises(SettingsError) as caught:
            load(given, environ)
        assert path in str(caught.value) and remedy in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_the_system_s_file_is_no_reason_to_sort_with_built_in_settings():
    os.makedirs(settings_module.SYSTEM_FILE)
    with pytest.raises(SettingsError) as caught:
        load(environ={})
    assert "settings cannot be read: is no file" in str(caught.value)


def test_which_file_is_read(tmp_path, monkeypatch):
    files = {}
    for name, items in (("given", 1), ("environ", 2), ("system", 3)):
        (tmp_path / name).mkdir()
        files[name] = toml(tmp_path / name, "[journal]\ncommit_items = {}\n".format(items))
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", files["system"])
    environ = {"SCRAPSORT_CONFIG": files["environ"]}
    assert load(files["given"], environ).journal.commit_items == 1  # --config before all
    assert load(None, environ).journal.commit_items == 2
    assert load(None, {"SCRAPSORT_CONFIG": ""}).journal.commit_items == 3  # set but empty is not set
    assert load(None, {}).file == files["system"]
    os.unlink(files["system"])
    assert load(None, {}) == Settings()


def test_the_environment_is_that_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRAPSORT_CONFIG", toml(tmp_path, "[journal]\ncommit_items = 5\n"))
    assert load().journal.commit_items == 5


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        Settings().source.uri = "x"


def test_override_replaces_what_is_given_and_leaves_the_rest():
    settings = parse({"source": {"uri": "a", "watch": True}, "decision": {"threshold": 0.4}}, "f")
    changed = override(settings, "source", uri="b", interval_s=None, watch=None)
    assert changed.source == Settings().source._replace(uri="b", watch=True) and settings.source.uri == "a"
    assert changed.decision == settings.decision and changed.file == "f"
    whole = override(settings, "source", interval_s=3)
    assert type(whole.source.interval_s) is float  # as it would be from a file


@pytest.mark.parametrize("section, values, names", [
    ("source", {"interval_s": -1.0}, ["source.interval_s", "-1.0", "86400.0"]),
    ("source", {"uri": 5}, ["source.uri", "5", "text"]),
    ("decision", {"threshold": 1.01}, ["decision.threshold", "1.01"]),
    ("model", {"precision": "fp8"}, ["model.precision", "'fp8'", "fp16"]),
    ("journal", {"commit_items": True}, ["journal.commit_items", "True", "whole number"]),
])
def test_override_checks_as_a_file_is_checked(section, values, names):
    with pytest.raises(SettingsError) as caught:
        override(Settings(), section, **values)
    message = str(caught.value)
    assert message.startswith("command line: ") and "\n" not in message
    for name in names:
        assert name in message


STATE = {"journal": {"state": "/from/settings"}}


@pytest.mark.parametrize("word, given, environ, tables, expected", [
    ("--state before all", "/given", {"STATE_DIRECTORY": "/sd", "XDG_STATE_HOME": "/xdg"}, STATE, "/given"),
    ("then systemd", None, {"STATE_DIRECTORY": "/sd", "XDG_STATE_HOME": "/xdg"}, STATE, "/sd"),
    ("the first of systemd's several", None, {"STATE_DIRECTORY": "/sd:/other"}, STATE, "/sd"),
    ("then the settings", None, {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/xdg"}, STATE, "/from/settings"),
    ("then XDG", None, {"XDG_STATE_HOME": "/xdg"}, {}, "/xdg/scrapsort"),
    ("then the home folder", None, {"XDG_STATE_HOME": ""}, {}, "/home/me/.local/state/scrapsort"),
    ("a tilde is the home folder", "~/belt", {}, {}, "/home/me/belt"),
    ("made absolute", "belt/..//one", {}, {}, "{cwd}/one"),
])
def test_state_folder(monkeypatch, word, given, environ, tables, expected):
    monkeypatch.setenv("HOME", "/home/me")
    assert state_folder(given, parse(tables, "f"), environ) == expected.format(cwd=os.getcwd()), word


def test_the_settings_shown_in_the_documents_are_allowed(tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(root, "docs", "operating.md"), encoding="utf-8") as file:
        whole = re.search(r"^```toml\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL).group(1)
    settings = load(toml(tmp_path, whole), {})
    assert settings == Settings(file=settings.file)  # they are the defaults
    for section, values in DEFAULTS.items():
        missing = [key for key in values if not re.search(r"^(# ?)?\[?{}[\] ]".format(key), whole, re.MULTILINE)]
        assert missing in ([], ["per_class"], ["lane"]), section
    with open(os.path.join(root, "docs", "ejectors.md"), encoding="utf-8") as file:
        blocks = re.findall(r"(?<=\n\n)((?:    [^\n]*\n)+)", file.read())
    assert len(blocks) >= 4
    for block in blocks:
        text = textwrap.dedent(block)
        settings = load(toml(tmp_path, text if text.startswith("[") else "[gate]\n" + text), {})
        assert settings != Settings(file=settings.file)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_settings_that_may_not_be_read_name_the_group(tmp_path):
    path = toml(tmp_path, "")
    os.chmod(path, 0o640)
    code = ("import os, sys; sys.path.insert(0, sys.argv[2])\n"
            "try:\n    import tomllib\nexcept ImportError:\n    import tomli\n"
            "from edge.settings import load; os.setuid(64001); load(sys.argv[1])")
    done = subprocess.run([sys.executable, "-c", code, path, REPOSITORY], stderr=subprocess.PIPE, check=False)
    assert "settings cannot be read: Permission denied; be root or in group scrapsort" in done.stderr.decode()
