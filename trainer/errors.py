"""The trainer's one error: a line that says what, where and what to do."""


class TrainerError(Exception):
    """Something the user can mend; reported in one line, exit code 1."""
