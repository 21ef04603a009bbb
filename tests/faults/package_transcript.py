"""What a machine says as the package is installed, upgraded, refused, removed, purged: `package_transcript.py OUT`.

Boots the bed and writes OUT, such as docs/performance/appliance_transcript.md, and the sizes of the packages into the
table of docs/install.md. Needs what tests/faults/test_package.py needs.
"""

import os
import platform
import re
import sys
import tempfile
import time

import package_bed
from package_bed import NEW, OLD, ROOT, PackageBed, package

HEAD = """\
# The package on a machine

Written by `python3 tests/faults/package_transcript.py docs/performance/appliance_transcript.md` at {date}, of
commit {commit}: a Debian 12 with a real systemd in systemd-nspawn, without a network, on {cores} busy cores
({machine}). The source is the demo's belt, `sim:`, with the model that ships. {new} is the same code with one more
version of the journal and one more setting. Nothing of it was run on a Jetson.

"""
CONF = package_bed.CONFFILE
READY = ("systemctl start scrapsort",
         "systemctl show -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic scrapsort")
# What is said before, the command, whether it is to end well
STEPS = (
    ("Installation", "dpkg -i /srv/{}.deb".format(OLD), True),
    (None, "systemctl --no-pager --lines=0 status scrapsort", True),
    (None, "scrapsort status", True),
    (None, "scrapsort doctor --state /var/lib/scrapsort", True),
    ("From `systemctl start` to READY", "systemctl stop scrapsort", True),
    (None, " && ".join(READY), True),
    (None, "sed -n '/^.health/,/max_temp_c/p' {}".format(CONF), True),
    (None, "man --version >/dev/null 2>&1 || echo 'no man here'; ls /usr/share/man/man?/scrapsort*", None),
    ("A setting is changed", "sed -i 's/^#commit_s = .*/commit_s = 0.5/' {} && "
     "systemctl restart scrapsort".format(CONF), True),
    ("Upgrade", "DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i /srv/{}.deb".format(NEW), True),
    (None, "grep -n '^[^#]' {} | grep commit_s".format(CONF), True),
    ("Downgrade: the older one cannot read the journal", "dpkg -i /srv/{}.deb".format(OLD), False),
    (None, "systemctl is-active scrapsort", True),
    ("Removal keeps settings and state", "dpkg -r scrapsort", True),
    (None, "ls /etc/scrapsort /var/lib/scrapsort", True),
    ("Purge", "dpkg -P scrapsort", True),
    (None, "ls -d /etc/scrapsort /var/lib/scrapsort /opt/scrapsort", False),
)


def main():
    """Write the page and the table."""
    with tempfile.TemporaryDirectory() as folder:
        dist = os.path.join(folder, "dist")
        inside = package_bed.wheel_folder("amd64")
        newer = package_bed.further_on(os.path.join(folder, "newer"))
        for tree, version in ((ROOT, OLD), (newer, NEW)):
            os.rename(package.build(tree, dist, version, "amd64", inside), os.path.join(dist, version + ".deb"))
        sizes = table_of_sizes(dist)
        text = HEAD.format(date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), cores=os.cpu_count(),
                           machine=platform.machine(), commit=package.git(ROOT, "rev-parse", "--short=10", "HEAD"),
                           new=NEW) + sizes + "\n" + steps(dist)
        package.write(sys.argv[1], text)
        page = os.path.join(ROOT, "docs", "install.md")
        package.write(page, re.sub(r"(<!-- sizes -->\n).*?(<!-- end -->)", lambda found: found.group(1) + sizes
                                   + found.group(2), package.read(page), flags=re.DOTALL))


def steps(dist):
    """The commands and what they say, each with its time."""
    text, bed = [], PackageBed(dist, "transcript")
    try:
        for title, command, good in STEPS:
            started = time.monotonic()
            said = bed.sh(command, good)
            took_s = time.monotonic() - started
            text.append("{}    $ {}\n{}    # {:.1f} s\n\n".format(
                "## {}\n\n".format(title) if title else "", command.replace("\n", " "),
                "".join("    {}\n".format(line) for line in said.replace("\r", "\n").splitlines()), took_s))
            times_us = sorted(map(int, re.findall(r"Monotonic=(\d+)", said)))
            if len(times_us) == 2:  # systemd's own: READY comes after the first answer of the model that is active
                text.append("READY {:.2f} s after the start.\n\n".format((times_us[1] - times_us[0]) / 1e6))
            if "dpkg -i" in command or "confold" in command or "restart" in command:
                started = time.monotonic()
                bed.wait_for_items(5)
                text.append("{:.1f} s later five more items are recorded, {} in all.\n\n".format(
                    time.monotonic() - started, bed.items()))
    finally:
        bed.close()
    return "".join(text)


def table_of_sizes(dist):
    """The table of the transcript and of docs/install.md."""
    rows = [("without wheels", "all", os.path.getsize(package.build(ROOT, dist, "0"))),
            ("with wheels, Python 3.11, x86-64", "amd64", os.path.getsize(os.path.join(dist, OLD + ".deb"))),
            ("with wheels, Python 3.11, aarch64", "arm64",
             os.path.getsize(package.build(ROOT, dist, "0", "arm64", package_bed.wheel_folder("arm64"))))]
    return "| package | architecture | MB |\n|---|---|---|\n" + "".join(
        "| {} | {} | {:.1f} |\n".format(name, arch, size / 1e6) for name, arch, size in rows)


if __name__ == "__main__":
    main()
