"""One .deb of a checkout, by dpkg-deb alone; the same bytes from the same commit."""

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from appliance import keys, wheels

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "files")
CODE = ("edge", "engines", "benchmarks", "models")
PAGES = ("operating.md", "belt.md", "cameras.md", "ejectors.md", "engines.md", "install.md", "service.md", "models.md",
         "recovery.md", "messages.md", "jetson.md", "faults.md")
LAUNCHERS = (("scrapsort", "edge"), ("scrapsort-engines", "engines"), ("scrapsort-bench", "benchmarks"))
CONFFILE = "/etc/scrapsort/scrapsort.toml"
DESCRIPTION = """\
sorts scrap on a conveyor
 A camera sees the belt, a network says what each item is, a valve throws it
 into its bin, and a journal keeps every item. Made for NVIDIA Jetson; on a PC
 the same daemon runs on its CPU.
"""


class PackageError(Exception):
    """Why no package can be made, in one line."""


def main(argv=None):
    """The command scripts/build-deb."""
    parser = argparse.ArgumentParser(prog="scripts/build-deb", description="Makes scrapsort's Debian package.")
    parser.add_argument("-o", "--out", default="dist", metavar="DIR", help="where to (default: dist)")
    parser.add_argument("--wheels", metavar="PYTHON", help="with the wheels for this Python inside, such as 3.8; else "
                                                           "they are fetched by scrapsort-setup")
    parser.add_argument("--arch", choices=sorted(wheels.MACHINES), help="with --wheels: the processor (default: arm64)")
    parser.add_argument("--jetson", action="store_true", help="with --wheels: the pins of a Jetson, which has OpenCV")
    parser.add_argument("--version", help="default: that of edge, with the number of commits and the last one's name")
    arguments = parser.parse_args(argv)
    if arguments.arch and not arguments.wheels:
        parser.error("--arch goes with --wheels; without wheels one package serves all")
    try:
        with tempfile.TemporaryDirectory() as folder:
            inside, architecture = "", "all"
            if arguments.wheels:
                inside, architecture = os.path.join(folder, "wheels"), arguments.arch or "arm64"
                wheels.fetch(ROOT, inside, arguments.wheels, architecture, arguments.jetson)
            path = build(ROOT, arguments.out, arguments.version, architecture, inside)
    except (PackageError, wheels.WheelError, OSError, subprocess.CalledProcessError) as error:
        sys.exit("scripts/build-deb: {}".format(error))
    print("{}  {:.1f} MB  sha256 {}".format(path, os.path.getsize(path) / 1e6, sha256(path)))
    return 0


def build(tree, out, version=None, architecture="all", wheel_folder="", compress="gzip"):
    """Make OUT/scrapsort_VERSION_ARCHITECTURE.deb of the checkout in tree. Returns its path. Raises PackageError."""
    if shutil.which("dpkg-deb") is None:
        raise PackageError("dpkg-deb is needed, which Debian and Ubuntu have")
    version, epoch = version or version_of(tree), epoch_of(tree)
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, "scrapsort_{}_{}.deb".format(version, architecture))
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "root")
        fill(tree, root, version, epoch, wheel_folder)
        control(tree, root, version, architecture, bool(wheel_folder))
        settle(root, epoch)
        # 18.04's dpkg cannot read zstd; xz takes twenty times as long to save 5 % of a model's weights
        environ = dict(os.environ, SOURCE_DATE_EPOCH=str(epoch))
        done = subprocess.Popen(["dpkg-deb", "--root-owner-group", "-Z" + compress, "-b", root, path + ".new"],
                                env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = done.communicate()[1].decode("utf-8", "replace").strip()
        if done.returncode:
            raise PackageError("dpkg-deb: " + said)
    os.rename(path + ".new", path)
    return path


def fill(tree, root, version, epoch, wheel_folder):
    """What the package installs."""
    opt = os.path.join(root, "opt", "scrapsort")
    for name in files_of(tree, CODE):
        copy(os.path.join(tree, name), os.path.join(opt, "lib", name))
    copy(os.path.join(HERE, "launch.py"), os.path.join(opt, "lib", "launch.py"))
    for name in files_of(tree, ("requirements",)):
        if os.path.basename(name).startswith(("edge-", "jetson-")):
            copy(os.path.join(tree, name), os.path.join(opt, name))
    copy(os.path.join(os.path.dirname(HERE), "environment.py"), os.path.join(opt, "share", "environment.py"))
    for name, module in LAUNCHERS:
        write(os.path.join(opt, "bin", name), template("launcher", MODULE=module), 0o755)
    write(os.path.join(opt, "bin", "scrapsort-setup"), template("scrapsort-setup"), 0o755)
    if wheel_folder:
        shutil.copytree(wheel_folder, os.path.join(opt, "wheels"))
    for link, target in (("usr/bin/scrapsort", "/opt/scrapsort/bin/scrapsort"),
                         ("usr/sbin/scrapsort-setup", "/opt/scrapsort/bin/scrapsort-setup")):
        os.makedirs(os.path.join(root, os.path.dirname(link)), exist_ok=True)
        os.symlink(target, os.path.join(root, link))
    write(root + CONFFILE, keys.conffile(tree))
    for name in units(tree):
        unit = os.path.join(root, "lib/systemd/system", name)
        copy(os.path.join(tree, "systemd", name), unit)
        if name.endswith(".service"):
            write(os.path.join(unit + ".d", "environment.conf"), template("environment.conf"))
    copy(os.path.join(tree, "systemd", "scrapsort.sysusers"), os.path.join(root, "usr/lib/sysusers.d/scrapsort.conf"))
    write(os.path.join(root, "lib/udev/rules.d/60-scrapsort.rules"), template("udev.rules"))
    documents(tree, root, version, epoch)


def documents(tree, root, version, epoch):
    """Manual pages and /usr/share/doc."""
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.check_call([sys.executable, os.path.join(os.path.dirname(HERE), "manpages.py"), tree, date, folder])
        write(os.path.join(folder, "scrapsort-setup.8"), template("scrapsort-setup.8", DATE=date, VERSION=version))
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                pack(os.path.join(root, "usr/share/man/man" + name[-1], name + ".gz"), file.read())
    share = os.path.join(root, "usr/share/doc/scrapsort")
    for name in PAGES:
        if os.path.isfile(os.path.join(tree, "docs", name)):
            copy(os.path.join(tree, "docs", name), os.path.join(share, name))
    write(os.path.join(share, "copyright"), template("copyright"))
    write(os.path.join(root, "usr/share/lintian/overrides/scrapsort"), template("lintian-overrides"))
    stamp = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(epoch))
    pack(os.path.join(share, "changelog.gz"), "scrapsort ({}) unstable; urgency=medium\n\n  * Of this commit.\n\n"
         " -- scrapsort <root@localhost>  {}\n".format(version, stamp).encode("utf-8"))


def control(tree, root, version, architecture, wheels_inside):
    """DEBIAN/: what dpkg reads and runs."""
    debian = os.path.join(root, "DEBIAN")
    size_kb = sum(-(-os.lstat(os.path.join(folder, name)).st_size // 1024)
                  for folder, _, names in os.walk(root) for name in names)
    lines = [("Package", "scrapsort"), ("Version", version), ("Architecture", architecture),
             ("Maintainer", "scrapsort <root@localhost>"), ("Installed-Size", size_kb), ("Section", "science"),
             ("Priority", "optional"), ("Depends", "python3 (>= 3.6), systemd")]
    if not wheels_inside:
        lines.append(("Recommends", "python3-venv"))  # for the pip that scrapsort-setup fetches wheels with
    write(os.path.join(debian, "control"), "".join("{}: {}\n".format(*line) for line in lines)
          + "Description: " + DESCRIPTION)
    write(os.path.join(debian, "conffiles"), CONFFILE + "\n")
    names, enabled = units(tree), [name for name in units(tree) if "[Install]" in read(tree, "systemd", name)]
    for script in ("preinst", "postinst", "prerm", "postrm"):
        write(os.path.join(debian, script), template(script, SCHEMA=str(schema_of(tree)), VERSION=version,
                                                     UNITS=" ".join(names), ENABLED=" ".join(enabled)), 0o755)
    sums = []
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, root)
            if not os.path.islink(path) and not inside.startswith("DEBIAN" + os.sep) and "/" + inside != CONFFILE:
                with open(path, "rb") as file:
                    sums.append("{}  {}\n".format(hashlib.md5(file.read()).hexdigest(), inside))
    write(os.path.join(debian, "md5sums"), "".join(sorted(sums, key=lambda line: line.split("  ")[1])))


def settle(root, epoch):
    """Modes and times that depend on nobody's umask or clock."""
    for folder, folders, names in os.walk(root, topdown=False):
        for name in names + folders:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                runs = os.path.isdir(path) or os.stat(path).st_mode & 0o100
                os.chmod(path, 0o755 if runs else 0o644)
            os.utime(path, (epoch, epoch), follow_symlinks=False)
    os.chmod(root, 0o755)
    os.utime(root, (epoch, epoch))


def version_of(tree):
    """0.1.0+233.gabc1234 of edge's version and the commit; .dirty when files were changed since; 0.1.0 without git."""
    version = re.search(r'__version__ = "(.+)"', read(tree, "edge", "__init__.py")).group(1)
    count, name = git(tree, "rev-list", "--count", "HEAD"), git(tree, "rev-parse", "--short=10", "HEAD")
    if not count:
        return version
    changed = git(tree, "status", "--porcelain", "--untracked-files=no")
    return "{}+{}.g{}{}".format(version, count, name, ".dirty" if changed else "")


def epoch_of(tree):
    """$SOURCE_DATE_EPOCH, else the time of the last commit, else that of edge/__init__.py, in seconds."""
    given = os.environ.get("SOURCE_DATE_EPOCH") or git(tree, "log", "-1", "--format=%ct")
    return int(given) if given else int(os.stat(os.path.join(tree, "edge", "__init__.py")).st_mtime)


def schema_of(tree):
    """How many versions the journal's tables have had, as edge/journal/schema.py has it."""
    text = read(tree, "edge", "journal", "schema.py")
    scope = {}
    exec(compile(re.search(r"^MIGRATIONS.*?^\)", text, re.MULTILINE | re.DOTALL).group(0).replace(
        "MIGRATIONS: Tuple[str, ...]", "MIGRATIONS"), "schema.py", "exec"), scope)
    return len(scope["MIGRATIONS"])


def units(tree):
    """The names of scrapsort's units."""
    return sorted(name for name in os.listdir(os.path.join(tree, "systemd"))
                  if name.endswith((".service", ".path", ".timer", ".socket")))


def files_of(tree, folders):
    """Files of these folders: those that git knows or would add, else all but what Python and editors leave."""
    listed = git(tree, "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders).splitlines()
    if not listed:
        listed = [os.path.relpath(os.path.join(folder, name), tree) for top in folders
                  for folder, _, names in os.walk(os.path.join(tree, top)) for name in names
                  if "__pycache__" not in folder and not name.endswith((".pyc", "~", ".swp"))]
    return sorted(name for name in listed if os.path.isfile(os.path.join(tree, name)))


def git(tree, *command):
    """What git says; empty where this is no checkout, or there is no git."""
    if not os.path.exists(os.path.join(tree, ".git")):
        return ""
    try:
        done = subprocess.Popen(["git", "-c", "core.quotePath=false", "-c", "safe.directory=*", "-C", tree]
                                + list(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return ""
    out = done.communicate()[0].decode("utf-8").strip()
    return out if done.returncode == 0 else ""


def template(name, **values):
    """A file of files/ with @NAME@ filled in."""
    text = read(HERE, name)
    for key, value in values.items():
        text = text.replace("@{}@".format(key), value)
    left = re.search(r"@[A-Z]+@", text)
    if left:
        raise PackageError("{}: nothing for {}".format(name, left.group(0)))
    return text


def read(*parts):
    """A text file."""
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def write(path, text, mode=0o644):
    """A text file, with the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(path, mode)


def copy(source, target):
    """A file as it is, without its mode."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)


def pack(path, data):
    """A .gz that holds neither name nor time."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(data)


def sha256(path):
    """Of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
