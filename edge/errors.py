"""What can go wrong, and the exit code each leads to.

    ScrapsortError                1  anything that is reported in one line instead of a traceback
      UsageError                  2  wrong arguments
        SettingsError             2  wrong settings: file, key, value, what is allowed
      SourceError                 1  no frames to be had: an empty folder, a missing file
      PictureError                1  one picture is bad; costs that item, never the run
      BundleError                 1  a model bundle that is missing, damaged or does not check
      BackendError                1  a classifier that cannot be opened or fails
        PlanError                 1  a TensorRT engine on the disk that is damaged or not for this machine
      OutputError                 1  an ejector's output or an input pin that is not there
      JournalError                1  the state folder is read-only, full, locked or from a newer version

Each message says what, where and what to do.
"""


class ScrapsortError(Exception):
    """Base of every error that the command line reports in one line."""

    exit_code = 1


class UsageError(ScrapsortError):
    """Wrong arguments on the command line."""

    exit_code = 2


class SettingsError(UsageError):
    """A settings file that cannot be used."""


class SourceError(ScrapsortError):
    """A source that gives no frames."""


class PictureError(ScrapsortError):
    """One picture that cannot be decoded."""


class BundleError(ScrapsortError):
    """A model bundle that is missing, damaged or does not check."""


class BackendError(ScrapsortError):
    """A classifier backend that cannot be opened, or that failed."""


class PlanError(BackendError):
    """A TensorRT engine on the disk that is damaged, or not for this machine."""


class OutputError(ScrapsortError):
    """An output of an ejector, or an input pin, that cannot be opened."""


class JournalError(ScrapsortError):
    """A state folder that cannot be written or read."""

    kind = "other"  # full, damaged, read-only, locked, newer or other
