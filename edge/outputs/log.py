"""log:NAME - a line for each change, for trying things out."""

import logging

from edge.outputs.base import Output

log = logging.getLogger("scrapsort")


class LogOutput(Output):
    """Writes on and off to the log."""

    def __init__(self, uri: str):
        self.uri, self.on = uri, False

    def set(self, on: bool) -> None:
        """A line where it changes."""
        if on != self.on:
            self.on = on
            log.info("output %s %s", self.uri, "on" if on else "off")
