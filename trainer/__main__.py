"""python3 -m trainer: prepare, train, evaluate, export."""

from __future__ import annotations

import sys

from trainer.cli import main

sys.exit(main())
