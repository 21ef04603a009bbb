"""The contract of an output."""


class Output:
    """One on-off signal. set() returns at once: an output that can block does its work on a thread of its own."""

    uri = ""
    settle_s = 0.0  # how long after set() it is known whether it was done
    trouble = ""  # one line about what is wrong and what to do; empty: nothing

    def set(self, on: bool) -> None:
        """Turn it on or off; never raises, what is wrong shows in trouble."""
        raise NotImplementedError

    def lost(self, from_s: float, to_s: float) -> bool:
        """Whether an opening that was asked for between these monotonic times was not carried out after all."""
        return False

    def close(self) -> None:
        """Turn it off and free it; may be called twice."""
        self.set(False)
