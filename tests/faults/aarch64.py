"""Runs programs for aarch64, a Jetson's processor, on x86: `python3 tests/faults/aarch64.py PROGRAM [ARGUMENT …]`.

In a user and mount namespace of its own it registers qemu-user-static with a private binfmt_misc: the machine's own
stays as it is. `chroot ROOT …` of an arm64 root is such a program. Needs root, qemu-user-static, Linux 6.7 or newer.
"""

import ctypes
import os
import sys

QEMU = "/usr/bin/qemu-aarch64-static"
BINFMT = "/proc/sys/fs/binfmt_misc"
# An ELF file of 64 bits, little endian, executable or shared, for machine 183 (EM_AARCH64); P: keeps argv[0],
# O: qemu is handed the open file, C: its credentials, F: qemu is opened now, so that a chroot need not hold it
RULE = (b":qemu-aarch64:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:"
        b"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:"
        + QEMU.encode() + b":POCF")
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000


def main():
    """Run the program given; its exit code is ours."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    to_parent, to_child = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        enter(to_parent, to_child)
        os.execvp(sys.argv[1], sys.argv[1:])
    os.close(to_parent[1])
    if os.read(to_parent[0], 1):  # it is in its namespace, where it may not say itself who it is
        for name in ("uid_map", "gid_map"):
            with open("/proc/{}/{}".format(child, name), "w") as file:
                file.write("0 0 65536\n")
        os.write(to_child[1], b".")
    status = os.waitpid(child, 0)[1]
    sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def enter(to_parent, to_child):
    """In the child: its namespaces, and qemu for aarch64 within them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
    os.write(to_parent[1], b".")
    os.read(to_child[0], 1)
    if libc.mount(b"none", BINFMT.encode(), b"binfmt_misc", 0, None):
        sys.exit("binfmt_misc in a user namespace: {} (Linux 6.7 is needed)".format(os.strerror(ctypes.get_errno())))
    with open(BINFMT + "/register", "wb", 0) as file:
        file.write(RULE)


if __name__ == "__main__":
    main()
