"""How the appliance is: its conditions and counters, for `scrapsort status` and the log."""

from edge.health.state import State, read, read_service, status_path
from edge.health.telemetry import Reading, Telemetry

__all__ = ["Reading", "State", "Telemetry", "read", "read_service", "status_path"]
