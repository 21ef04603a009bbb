"""What pip installs: the same metadata by both roads, the console script, the bundled model."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def pyproject():
    try:
        import tomllib as toml  # novm
    except ImportError:
        import tomli as toml
    return toml.loads(read("pyproject.toml"))


def lines_of(text):
    return [line.strip() for line in text.strip().splitlines()]


def test_setup_cfg_says_what_pyproject_says():
    project, setuptools = pyproject()["project"], pyproject()["tool"]["setuptools"]
    config = configparser.ConfigParser()
    config.read(os.path.join(ROOT, "setup.cfg"), encoding="utf-8")
    metadata, options = config["metadata"], config["options"]
    assert (metadata["name"], metadata["version"], metadata["description"]) == (
        project["name"], project["version"], project["description"])
    assert metadata["license"] == project["license"]["text"]
    assert options["python_requires"] == project["requires-python"]
    assert lines_of(options["install_requires"]) == project["dependencies"]
    assert lines_of(options["packages"]) == setuptools["packages"]
    extras = {name: lines_of(text) for name, text in config["options.extras_require"].items()}
    assert extras == project["optional-dependencies"]
    scripts = dict(re.split(" = ", line) for line in lines_of(config["options.entry_points"]["console_scripts"]))
    assert scripts == project["scripts"]
    for section, table in (("options.data_files", "data-files"), ("options.package_data", "package-data")):
        data = {folder: lines_of(files) for folder, files in config[section].items()}
        assert data == setuptools[table]


def test_the_version_is_the_same_everywhere():
    version = re.search(r'__version__ = "(.+)"', read("edge/__init__.py")).group(1)
    assert pyproject()["project"]["version"] == version


def test_every_package_with_code_is_installed():
    found = set()
    for top in ("edge", "trainer", "benchmarks", "engines"):
        for folder, _, files in os.walk(os.path.join(ROOT, top)):
            if any(name.endswith(".py") for name in files):
                found.add(os.path.relpath(folder, ROOT).replace(os.sep, "."))
    assert found == set(pyproject()["tool"]["setuptools"]["packages"])


@pytest.mark.long
def test_the_installed_command_works_away_from_the_repository(tmp_path):
    """Installs into a folder of its own, as pip does it here, and runs the console script with the shipped bundle."""
    source, prefix = tmp_path / "source", tmp_path / "prefix"
    shutil.copytree(ROOT, str(source), ignore=shutil.ignore_patterns(".venv", ".git", "data", "runs", "*.egg-info",
                                                                     "build", ".cache", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
           "--disable-pip-version-check", "--prefix", str(prefix), str(source)]
    process = subprocess.Popen(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate(timeout=300)[0].decode("utf-8")
    assert process.returncode == 0, output
    script = next(p for p in prefix.glob("**/scrapsort") if p.parent.name in ("bin", "Scripts"))
    library = next(prefix.glob("**/site-packages"))
    environment = dict(os.environ, PYTHONPATH=str(library), PYTHONIOENCODING="utf-8")
    version = subprocess.check_output([str(script), "--version"], cwd=str(tmp_path), env=environment)
    assert version.decode("utf-8").strip() == "scrapsort " + pyproject()["project"]["version"]
    assert (library / "edge" / "cli.py").exists()
    assert (library / "edge" / "classifier" / "preprocess.cu").read_bytes() == read(
        "edge/classifier/preprocess.cu").encode("utf-8")
    shipped = prefix / "share" / "scrapsort" / "models" / "trashnet-resnet18"
    assert sorted(p.name for p in shipped.iterdir()) == sorted(os.listdir(os.path.join(
        ROOT, "models", "trashnet-resnet18")))
    run = "import sys; sys.prefix = {!r}; from edge.cli import main; sys.exit(main(['run', '--source', 'drawn:', " \
          "'--limit', '3', '--quiet', '--state', {!r}]))".format(str(prefix), str(tmp_path / "state"))
    output = subprocess.check_output([sys.executable, "-c", run], cwd=str(tmp_path), env=environment,
                                     stderr=subprocess.STDOUT)
    assert "3 items in" in output.decode("utf-8") and str(ROOT) not in output.decode("utf-8")


def imports_of(package):
    """(file, imported top-level module) of every import in a package."""
    for folder, _, files in os.walk(os.path.join(ROOT, package)):
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                for node in ast.walk(ast.parse(read(os.path.relpath(path, ROOT)))):
                    if isinstance(node, ast.Import):
                        for alias in node.names:
                            yield path, alias.name.split(".")[0]
                    elif isinstance(node, ast.ImportFrom) and node.module:
                        yield path, node.module.split(".")[0]


def test_arrows_point_one_way():
    for path, module in imports_of("edge"):
        assert module not in ("trainer", "engines", "benchmarks", "torch", "PIL", "onnx"), path
    if sys.version_info >= (3, 10):  # older ones cannot read the trainer's syntax
        for path, module in imports_of("trainer"):
            assert module not in ("benchmarks", "engines"), path
