"""Run a module of this folder, whatever the current folder holds: launch.py MODULE [ARGUMENT …]."""

import runpy
import sys

del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
