"""How the appliance is: its conditions and counters, for `scrapsort status` and the log."""

from edge.health.state import State, read, read_service, status_path

__all__ = ["State", "read", "read_service", "status_path"]
