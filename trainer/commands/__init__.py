"""The trainer's commands; each module adds its own and imports what it needs only when it runs."""

from pathlib import Path

DATA = Path("data/materials")
OOF = Path("runs/crossvalidation/oof.npz")
