"""The contract of an output."""


class Output:
    """One on-off signal. set() returns at once: an output that can block does its work on a thread of its own."""

    uri = ""
    trouble = ""  # one line about what is wrong and what to do; empty: nothing

    def set(self, on: bool) -> None:
        """Turn it on or off; never raises, what is wrong shows in trouble."""
        raise NotImplementedError

    def close(self) -> None:
        """Turn it off and free it; may be called twice."""
        self.set(False)
