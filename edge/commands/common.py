"""What several commands share."""

import argparse
from typing import TYPE_CHECKING, Tuple

from edge import settings as settings_module
from edge.logs import log, start_logging
from edge.settings import Settings

if TYPE_CHECKING:
    from edge.bundles import Bundle

__all__ = ["add_config", "add_model", "count", "fraction", "load_settings", "log", "number", "open_bundle",
           "start_logging"]


def add_config(parser: argparse.ArgumentParser) -> None:
    """--config and --state."""
    parser.add_argument("--config", metavar="FILE", help="settings (default: $SCRAPSORT_CONFIG, "
                                                         "/etc/scrapsort/scrapsort.toml, built-in)")
    parser.add_argument("--state", metavar="DIR", help="where the journal lives (default: $STATE_DIRECTORY, "
                                                       "[journal] state, $XDG_STATE_HOME/scrapsort)")


def add_model(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """--bundle, --backend and --precision; with several, the last takes more than one and gives a list."""
    parser.add_argument("--bundle", metavar="DIR", help="model bundle, a folder or .tar")
    parser.add_argument("--backend", choices=settings_module.BACKENDS, help="default: auto")
    parser.add_argument("--precision", choices=settings_module.PRECISIONS, nargs="+" if several else None,
                        help="default: auto, {}".format("each one that the bundle has" if several else
                                                        "the fastest one that gives the golden answers"))


def fraction(text: str) -> float:
    """A number above 0, to 1."""
    value = number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("{}: above 0.0, to 1.0, is allowed".format(text))
    return value


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("{!r} is no number".format(text))


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or not 1 <= int(text) < 2 ** 63:
        raise argparse.ArgumentTypeError("{!r}: a whole number from 1 is allowed".format(text))
    return int(text)


def load_settings(arguments: argparse.Namespace) -> Tuple[Settings, str]:
    """Settings with the command line's --bundle, --backend and --precision in place, and the state folder."""
    settings = settings_module.load(arguments.config)
    settings = settings_module.override(
        settings, "model", backend=getattr(arguments, "backend", None), precision=getattr(arguments, "precision", None))
    return settings, settings_module.state_folder(arguments.state, settings)


def open_bundle(arguments: argparse.Namespace, settings: Settings, state: str) -> "Bundle":
    """The bundle that these arguments and settings lead to."""
    from edge.bundles import Bundle, find  # here, so that doctor can report a NumPy that cannot be imported
    return Bundle(find(arguments.bundle, settings.model.bundle, state))
