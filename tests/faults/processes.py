"""Of other processes: their children, by what they run."""

import glob


def child(pid, module):
    """The number of the process that pid has started and that runs a module of ours; None: there is none."""
    for path in glob.glob("/proc/{}/task/*/children".format(pid)):
        try:
            with open(path) as file:
                numbers = file.read().split()
            for number in numbers:
                with open("/proc/{}/cmdline".format(number), "rb") as file:
                    if module.encode() in file.read():
                        return int(number)
        except OSError:  # it has just ended
            pass
    return None
