"""The Debian package as a file: what is in it, the same bytes each time, its settings, its manual pages, its scripts.

What it does on a machine is tested in tests/faults/test_package.py.
"""

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from edge import settings as settings_module

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from appliance import bundle, environment, keys, manpages, package, wheels  # noqa: E402  # after its folder is on the path

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb here")
EPOCH = 4000000000  # after now, as for a Jetson without a battery for its clock


def output_of(command, **more):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def small_tree(folder):
    """This checkout without history, and with small files in the place of the models."""
    for name in package.files_of(ROOT, package.CODE + ("docs", "systemd", "requirements")):
        target = os.path.join(folder, name)
        if name.endswith((".onnx", ".npz")):
            package.write(target, "small")
        else:
            package.copy(os.path.join(ROOT, name), target)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return small_tree(str(tmp_path_factory.mktemp("tree")))


@pytest.fixture(scope="module")
def installed(tree, tmp_path_factory):
    """(the package, the folder that it was unpacked into)."""
    folder = str(tmp_path_factory.mktemp("deb"))
    path = package.build(tree, folder, "1.0")
    subprocess.check_call(["dpkg-deb", "-R", path, os.path.join(folder, "root")])
    return path, os.path.join(folder, "root")


@needs_dpkg
def test_what_is_in_it_and_what_is_not(installed):
    path, root = installed
    code, listed, _ = output_of(["dpkg-deb", "-c", path])
    names = {line.split(None, 5)[5].split(" -> ")[0][1:] for line in listed.splitlines()}
    for name in package.files_of(ROOT, ("edge", "engines", "benchmarks", "models")):
        assert "/opt/scrapsort/lib/" + name in names
    assert not [name for name in names if "/trainer/" in name or "/tests/" in name or "__pycache__" in name]
    assert all(line.split()[1] == "root/root" for line in listed.splitlines())
    for line in listed.splitlines():
        assert line[:10] in ("drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"), line
        runs = re.search(r"/bin/[\w-]+$|DEBIAN", line) is not None
        assert line.startswith("-rwx") == (runs and line.startswith("-")), line
    for name in ("/etc/scrapsort/scrapsort.toml", "/usr/lib/sysusers.d/scrapsort.conf", "/usr/share/man/man8/"
                 "scrapsort-setup.8.gz", "/lib/udev/rules.d/60-scrapsort.rules", "/usr/bin/scrapsort"):
        assert name in names
    for unit in package.units(ROOT):
        assert "/lib/systemd/system/" + unit in names
        assert package.read(root, "lib/systemd/system", unit) == package.read(ROOT, "systemd", unit)
    assert package.read(root, "DEBIAN", "conffiles") == "/etc/scrapsort/scrapsort.toml\n"
    control = package.read(root, "DEBIAN", "control")
    assert "Version: 1.0\nArchitecture: all\n" in control
    subprocess.check_call(["md5sum", "--quiet", "-c", "DEBIAN/md5sums"], cwd=root)


@needs_dpkg
def test_every_file_that_the_units_start_is_in_it(installed):
    root = installed[1]
    for unit in package.units(ROOT):
        for command in re.findall(r"^Exec\w+=[-+!:@]*(\S+)", package.read(ROOT, "systemd", unit), re.MULTILINE):
            if command.startswith("/opt/scrapsort/"):
                assert os.access(root + command, os.X_OK), "{} starts {}".format(unit, command)


@needs_dpkg
@pytest.mark.long
def test_the_same_tree_gives_the_same_bytes(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    first = package.build(tree, str(tmp_path / "a"), "1.0")
    again = small_tree(str(tmp_path / "again"))  # other times, in another order
    before = os.umask(0o077)
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        second = package.build(again, str(tmp_path / "b"), "1.0")
    finally:
        os.umask(before)
    assert package.sha256(first) == package.sha256(second)


@needs_dpkg
def test_the_launcher_runs_the_installed_code_whatever_the_current_folder_holds(installed, tmp_path):
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("raise SystemExit(9)")
    launch = os.path.join(installed[1], "opt/scrapsort/lib/launch.py")
    code, out, err = output_of([sys.executable, launch, "edge", "--version"], cwd=str(tmp_path))
    assert (code, out.split()[:1]) == (0, ["scrapsort"]), err


def test_the_version_tells_the_commit(tmp_path):
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text('__version__ = "7.8"\n')
    assert package.version_of(str(tmp_path)) == "7.8"

    def git(*command):
        subprocess.check_call(["git", "-c", "user.name=a", "-c", "user.email=b", "-C", str(tmp_path)] + list(command),
                              stdout=subprocess.DEVNULL)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "one", "--date", "2020-01-01T00:00:00Z")
    assert re.match(r"7\.8\+1\.g[0-9a-f]{10}$", package.version_of(str(tmp_path)))
    (tmp_path / "edge" / "__init__.py").write_text('__version__ = "7.8"\n\n')
    assert package.version_of(str(tmp_path)).endswith(".dirty")


def test_the_journal_s_version_is_that_of_its_tables():
    from edge.journal import schema
    assert package.schema_of(ROOT) == len(schema.MIGRATIONS)


# --- settings ---

def test_every_setting_stands_in_the_file_with_words_and_default():
    text, found = keys.conffile(ROOT), keys.keys(ROOT)
    wanted = {(section, name) for section, kind in settings_module.SECTIONS.items() for name in kind()._fields}
    wanted = {one for one in wanted if one not in (("decision", "per_class"), ("ejector", "lane"))}
    wanted |= {("ejector.lane", "class" if name == "class_name" else name) for name in settings_module.Lane()._fields}
    assert {(key.section, key.name) for key in found} == wanted
    for key in found:
        assert "#{} = {}\n".format(key.name, keys.toml(key.default)) in text
        assert re.search(r"default: ", key.allowed)
        assert key.words or ";" in key.allowed, "docs/operating.md says nothing about {}.{}".format(*key[:2])
    assert max(map(len, text.splitlines())) <= 120


def test_units_and_ranges_are_those_of_the_settings():
    found = {(key.section, key.name): key.allowed for key in keys.keys(ROOT)}
    assert found["source", "stall_s"] == "seconds; from 0.5 to 600.0; default: 5.0"
    assert found["source", "rotate_deg"] == "degrees; one of: 0, 90, 180, 270; default: 0"
    assert found["gate", "mode"] == 'one of: auto, every, interval, belt, trigger; default: "auto"'
    assert found["ejector.lane", "distance_m"] == "metres; from 0.0 to 100.0; default: 0.0"
    for (section, name), allowed in settings_module.RANGES.items():
        text = found[section, name]
        assert all(str(one) in text for one in allowed), (section, name, text)


def test_the_file_is_the_defaults_and_so_is_every_line_of_it(tmp_path):
    path = tmp_path / "scrapsort.toml"
    path.write_text(keys.conffile(ROOT), encoding="utf-8")
    assert settings_module.load(str(path))._replace(file="") == settings_module.Settings()
    lines = [line[1:] if re.match(r"#(\w+ = |\[)", line) else line for line in keys.conffile(ROOT).splitlines()]
    text = "\n".join(lines).replace('class = ""', 'class = "metal"')
    path.write_text(text, encoding="utf-8")
    lane = settings_module.Lane(class_name="metal")
    wanted = settings_module.Settings(ejector=settings_module.Ejector(lane=(lane,)))
    assert settings_module.load(str(path))._replace(file="") == wanted


def test_the_page_on_operating_lists_every_setting_with_its_default():
    page = package.read(ROOT, "docs", "operating.md")
    block = re.search(r"```toml\n(.*?)```", page, re.DOTALL).group(1)
    try:
        import tomllib as toml  # novm
    except ImportError:
        import tomli as toml
    listed = toml.loads(block)
    for section, kind in settings_module.SECTIONS.items():
        for name, default in kind()._asdict().items():
            if name != "lane":
                value = listed[section][name]
                assert (tuple(value) if isinstance(value, list) else value) == default, (section, name)
    words = keys.listing("```toml\n[a]\nx = 1  # one\n       # two # three\ny = \"#\"\n\n[b]\nx = [1, 2]  # z\n```\n")
    assert words == {("a", "x"): "one two # three", ("a", "y"): "", ("b", "x"): "z"}


# --- manual pages ---

@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("man"))
    subprocess.check_call([sys.executable, manpages.__file__, ROOT, "2026-01-02", folder])
    package.write(os.path.join(folder, "scrapsort-setup.8"), package.template(
        "scrapsort-setup.8", DATE="2026-01-02", VERSION="1.0"))
    return folder


def options_of(parser):
    """All options of a parser and of those below it, but for --help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from options_of(one)
        elif action.dest != "help" and action.help != argparse.SUPPRESS:
            yield from action.option_strings


def test_the_pages_name_every_command_option_and_setting(pages):
    import edge.cli
    page = package.read(pages, "scrapsort.1").replace("\\-", "-")
    for name, _ in edge.cli.COMMANDS:
        assert "\n.SS scrapsort {}\n".format(name) in page
        parser = argparse.ArgumentParser()
        importlib.import_module("edge.commands." + name).add(parser)
        section = page.split("\n.SS scrapsort {}\n".format(name))[1]
        section = re.split(r"\n\.S[SH] (?!scrapsort {} )".format(name), section)[0]
        for option in options_of(parser):
            assert "\\fB{}\\fR".format(option) in section, (name, option)
    settings = package.read(pages, "scrapsort.toml.5").replace("\\-", "-")
    for key in keys.keys(ROOT):
        assert "\n.TP\n.B {}\n".format(key.name) in settings and "default: " in settings


def test_the_pages_show_without_a_warning(pages):
    if shutil.which("groff") is None:
        pytest.skip("there is no groff here")
    for name in sorted(os.listdir(pages)):
        code, out, err = output_of(["groff", "-man", "-Tutf8", "-P-cbou", "-ww", "-K", "utf-8",
                                    os.path.join(pages, name)])
        assert code == 0 and not err, (name, err)
        assert "NAME\n" in out and "@" not in out


# --- scripts ---

def shell_scripts():
    folder = os.path.join(ROOT, "scripts", "appliance", "files")
    return sorted(name for name in os.listdir(folder) if package.read(folder, name).startswith("#!/bin/sh"))


@pytest.mark.parametrize("name", shell_scripts())
@pytest.mark.skipif(os.name != "posix", reason="there is no sh here")
def test_shell_scripts_are_shell(name):
    folder = os.path.join(ROOT, "scripts", "appliance", "files")
    code, out, err = output_of(["sh", "-n", os.path.join(folder, name)])
    assert code == 0, err


STUB = """#!/bin/sh
echo "$(basename $0) $*" >>"$LOG"
case "$*" in *is-active*scrapsort.service) exit $STOPPED;; *is-active*) exit 3;; esac
"""


@pytest.fixture
def dpkg(tmp_path, monkeypatch):
    """dpkg(script, argument …) runs a maintainer script below tmp_path, where systemctl and the like are written down;
    returns what was started."""
    for name in ("systemctl", "systemd-sysusers", "deb-systemd-helper", "scrapsort-setup", "python3"):
        package.write(str(tmp_path / "bin" / name), STUB, 0o755)
    (tmp_path / "run" / "systemd" / "system").mkdir(parents=True)
    monkeypatch.setenv("PATH", "{}:{}".format(tmp_path / "bin", os.environ["PATH"]))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))

    def run(script, *arguments, stopped=False):
        text = package.template(script, SCHEMA="5", VERSION="1", UNITS=" ".join(package.units(ROOT)),
                                ENABLED=" ".join(package.units(ROOT)))
        for folder in ("/run/", "/opt/", "/var/", "/etc/"):
            text = text.replace(folder, str(tmp_path) + folder)
        package.write(str(tmp_path / "opt" / "scrapsort" / "bin" / "scrapsort-setup"), STUB, 0o755)
        package.write(str(tmp_path / script), text, 0o755)
        package.write(str(tmp_path / "log"), "")
        code, _, err = output_of(["sh", str(tmp_path / script)] + list(arguments),
                                 env=dict(os.environ, STOPPED="3" if stopped else "0"))
        assert code == 0, err
        return [line.split()[-1] for line in package.read(str(tmp_path), "log").splitlines()
                if line.startswith("systemctl start")]
    return run


@pytest.mark.skipif(os.name != "posix", reason="there is no sh here")
@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_person_has_stopped_is_not_started_by_dpkg(stopped, dpkg):
    """And what sorted sorts again, however it ends; engines are looked at after each upgrade."""
    sorter = [] if stopped else ["scrapsort.service"]
    dpkg("preinst", "upgrade", "1", stopped=stopped)
    assert dpkg("postinst", "configure", "1") == sorter + ["scrapsort-engines.service"]
    dpkg("preinst", "upgrade", "1", stopped=stopped)  # then the disk is full: dpkg goes back
    assert dpkg("postinst", "abort-upgrade", "1") == sorter + ["scrapsort-engines.service"]
    assert dpkg("postinst", "abort-upgrade", "1") == []  # of one that was refused before it had stopped anything
    dpkg("prerm", "remove", stopped=stopped)
    assert dpkg("postinst", "abort-remove") == sorter
    dpkg("prerm", "remove", stopped=stopped)
    dpkg("postrm", "remove")
    assert dpkg("postinst", "configure") == package.units(ROOT)  # installed anew


# --- the Python environment ---

@pytest.mark.parametrize("name, machine, python, fits", [
    ("numpy-1.19.4-cp36-cp36m-manylinux2014_aarch64.whl", "aarch64", (3, 6), True),
    ("numpy-1.19.4-cp36-cp36m-manylinux2014_aarch64.whl", "aarch64", (3, 8), False),
    ("numpy-1.19.4-cp36-cp36m-manylinux2014_x86_64.whl", "aarch64", (3, 6), False),
    ("opencv_python_headless-4.6.0.66-cp36-abi3-manylinux_2_17_aarch64.whl", "aarch64", (3, 8), True),
    ("opencv_python_headless-5.0.0.93-cp37-abi3-manylinux2014_aarch64.whl", "aarch64", (3, 6), False),
    ("tomli-1.2.3-py3-none-any.whl", "aarch64", (3, 6), True),
    ("pymodbus-2.5.3-py2.py3-none-any.whl", "x86_64", (3, 12), True),
    ("x-1-cp310-cp310-macosx_11_0_x86_64.whl", "x86_64", (3, 10), False),
])
def test_which_wheel_fits(name, machine, python, fits, monkeypatch):
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    monkeypatch.setattr(environment.sys, "version_info", python + (0,))
    assert environment.fits(name) is fits


@pytest.mark.parametrize("case, system, jetson, wanted", [
    ("nothing of the system", {}, False, ["numpy", "onnxruntime", "opencv_python_headless"]),
    ("both serve", {"numpy": "1.24.2", "cv2": "4.6.0"}, False, ["onnxruntime"]),
    ("OpenCV is too old", {"numpy": "1.24.2", "cv2": "3.2.0"}, False, ["onnxruntime", "opencv_python_headless"]),
    ("NumPy is too old, and OpenCV would not go with the other", {"numpy": "1.17.4", "cv2": "4.6.0"}, False,
     ["numpy", "onnxruntime", "opencv_python_headless"]),
    ("JetPack 6", {"numpy": "1.21.5", "cv2": "4.8.0"}, True, ["numpy", "onnxruntime"]),
    ("a newer NumPy than JetPack bears", {"numpy": "1.26.9", "cv2": "4.8.0"}, True, ["numpy", "onnxruntime"]),
])
def test_no_wheel_goes_over_what_the_system_has(case, system, jetson, wanted, tmp_path, monkeypatch):
    line = "{}.{}".format(*max(one for one in environment.LINES if one <= sys.version_info[:2]))
    pins = {"numpy": "1.26.4" if jetson else "2.2.6", "onnxruntime": "1.23.2", "opencv-python-headless": "5.0.0.93"}
    root = tmp_path / "root"
    package.write(str(root / "requirements" / "edge-{}.txt".format(line)),
                  "".join("{}=={}\n".format(*one) for one in pins.items()))
    (root / "wheels").mkdir()
    for name, version in pins.items():
        distribution = name.replace("-", "_")
        stem = "{}-{}".format(distribution, version)
        with zipfile.ZipFile(str(root / "wheels" / (stem + "-py3-none-any.whl")), "w") as wheel:
            wheel.writestr(stem + ".dist-info/METADATA", "Requires-Dist: numpy (>=1.21.6)\n")
    monkeypatch.setattr(environment, "of_system", lambda module: system.get(module, ""))
    monkeypatch.setattr(environment, "JETSON", str(root) if jetson else str(root / "none"))
    made = environment.Environment(str(root), str(tmp_path / "cache"), network=False)
    assert sorted(os.path.basename(path).split("-")[0] for path in made._choose()) == wanted, case


@pytest.mark.skipif(os.name != "posix" or sys.version_info[:2] == (3, 7), reason="for Linux")
def test_what_is_missing_is_one_line(tmp_path, capsys):
    code = environment.main(["--installing", "--root", ROOT, "--cache", str(tmp_path)])
    said = capsys.readouterr().err
    assert code == 1 and said.count("\n") == 1
    assert "no wheel of onnxruntime" in said and said.endswith("run: sudo scrapsort-setup\n")


@pytest.mark.skipif(os.name != "posix" or sys.version_info[:2] == (3, 7), reason="for Linux")
def test_the_environment_is_readable_for_the_service_whatever_root_s_umask(tmp_path):
    before = os.umask(0o077)
    try:
        environment.main(["--installing", "--root", ROOT, "--cache", str(tmp_path)])
    finally:
        during = os.umask(before)
    assert during == 0o022


def test_a_wheel_s_files_stay_inside(tmp_path):
    path = str(tmp_path / "x-1-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as wheel:
        for name in ("x/__init__.py", "../out.py", "x-1.data/platlib/x/lib.so", "x-1.data/scripts/x", "/abs.py"):
            wheel.writestr(name, "1")
    environment.unpack(path, str(tmp_path / "site"))
    found = sorted(os.path.relpath(os.path.join(folder, name), str(tmp_path / "site"))
                   for folder, _, names in os.walk(str(tmp_path / "site")) for name in names)
    assert found == ["x/__init__.py", "x/lib.so"] and not (tmp_path / "out.py").exists()


# --- the archive for a board without a network ---

@needs_dpkg
@pytest.mark.long
def test_the_archive_has_the_package_the_wheels_and_their_sums(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    asked = []

    def fetch(tree, folder, *what):
        asked.append(what)
        package.write(os.path.join(folder, "numpy-1-py3-none-any.whl"), "wheel")
    paths = [str(tmp_path / name) for name in ("a.tar", "b.tar")]
    for path in paths:
        bundle.bundle(tree, "debian12", path, fetch)
    assert asked[0] == ("3.11", "amd64", False, (2, 36))
    assert package.sha256(paths[0]) == package.sha256(paths[1])
    with tarfile.open(paths[0]) as tar:
        names = tar.getnames()
        sums = tar.extractfile("scrapsort-offline/SHA256SUMS").read().decode().splitlines()
        install = tar.extractfile("scrapsort-offline/install.sh").read().decode()
    inside = {name for name in names if "." in os.path.basename(name)} - {"scrapsort-offline/SHA256SUMS"}
    assert {"scrapsort-offline/" + line.split("  ")[1] for line in sums} == inside and len(inside) == 3
    assert '"$python" != 3.11' in install and '"$arch" != amd64' in install


@pytest.mark.parametrize("asked, named", [
    ("4.6", "4.6"), ("4.6.4", "4.6"), ("5.1.3", "5.1"), ("6.2", "6.x"), ("7.1", "7.x")])
def test_which_jetpack_is_meant(asked, named):
    assert bundle.find(asked)[0] == named
    with pytest.raises(package.PackageError) as error:
        bundle.find("3.3")
    assert "there are 4.6, 5.1, 6.x, 7.x" in str(error.value)


@pytest.mark.parametrize("jetpack", [name for name, one in wheels.JETPACKS.items() if one["jetson"]])
def test_every_jetpack_has_pins(jetpack):
    one = wheels.JETPACKS[jetpack]
    found = dict(wheels.pins(ROOT, one["python"], True))
    assert {"numpy", "onnxruntime", "opencv-python-headless"} <= set(found)
    assert not set(found) & set(environment.NOT_HERE)
    if tuple(map(int, one["python"].split("."))) < (3, 11):
        assert "tomli" in found
