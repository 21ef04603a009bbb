"""A throwaway copy of this machine, without a network: what is changed in it is in memory and goes with it.

Needs root and Linux. It is no machine of its own: it has no systemd that runs, and this machine's clock.
"""

import os
import subprocess

SIZE = "3g"
ENTER = "; ".join((
    "set -e", "cd {folder}", "mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root",
    "for one in proc dev sys; do mount --rbind /$one root/$one; done",
    # So that deb-systemd-helper and systemctl find no systemd that they could talk to
    "mount -t tmpfs tmpfs root/run", "mount --bind {outside} root{outside}",
    "exec chroot root \"$@\""))


class MachineCopy:
    """Commands in the copy."""

    def __init__(self, folder, outside):
        """folder: an empty one, for what is changed between two commands; outside: one that is the same in the copy."""
        self._folder, self._outside = str(folder), str(outside)
        subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=" + SIZE, "tmpfs", self._folder])
        for name in ("upper", "work", "root"):
            os.mkdir(os.path.join(self._folder, name))

    def sh(self, command, good=True, timeout=3000.0):
        """Run a shell command; its stdout and stderr together. good: it must end so."""
        process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--fork", "sh", "-c", ENTER.format(
                folder=self._folder, outside=self._outside), "sh", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
             "HOME=/root", "LC_ALL=C.UTF-8", "sh", "-c", "exec 2>&1; " + command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = process.communicate(timeout=timeout)[0].decode("utf-8", "replace")
        assert (process.returncode == 0) == good, "{} ended with {}:\n{}".format(command, process.returncode, out)
        return out

    def close(self):
        """It is gone."""
        subprocess.check_call(["umount", self._folder])
