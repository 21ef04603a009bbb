"""Fires each item's ejector when the item is in front of it: time at the line + distance / speed, not decision time."""

from edge.ejector.choose import check_ejector, open_ejector
from edge.ejector.link import Ejector, NoEjector
from edge.ejector.schedule import SCHEDULED, Result

__all__ = ["SCHEDULED", "Ejector", "NoEjector", "Result", "check_ejector", "open_ejector"]
