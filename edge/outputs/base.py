"""The contract of an output."""

from typing import Optional


class Output:
    """One on-off signal. set() returns at once: an output that can block does its work on a thread of its own."""

    uri = ""

    def set(self, on: bool) -> None:
        """Turn it on or off; never raises, what is wrong shows in trouble."""
        raise NotImplementedError

    @property
    def trouble(self) -> Optional[str]:
        """One line about what is wrong and what to do, or None."""
        return None

    def close(self) -> None:
        """Turn it off and free it; may be called twice."""
        self.set(False)
