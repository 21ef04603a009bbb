"""scrapsort.toml -> one frozen, validated object. Names, units and defaults are the same everywhere."""

import difflib
import os
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from edge.errors import SettingsError

SYSTEM_FILE = "/etc/scrapsort/scrapsort.toml"
BACKENDS = ("auto", "tensorrt", "onnxruntime")
PRECISIONS = ("auto", "fp32", "fp16", "int8")
CUDA_MEMORY = ("copy", "mapped")
GATE_MODES = ("auto", "every", "interval", "belt", "trigger")
DIRECTIONS = ("left", "right", "up", "down")


class Source(NamedTuple):
    """[source]: where pictures come from."""

    uri: str = "sim:"
    interval_s: float = 0.0  # between the starts of two items; 0: as fast as possible
    watch: bool = False  # a folder: go on with files as they arrive
    width: int = 1280  # asked of a camera
    height: int = 720
    fps: float = 30.0
    region: Tuple[int, int, int, int] = (0, 0, 0, 0)  # x, y, w, h in pixels of the belt; zeros: the whole picture
    rotate_deg: int = 0  # 90, 180 or 270, clockwise, before anything else
    exposure_ms: float = 0.0  # 0: the camera's own, not known; else what smears on a moving belt is undone by it
    white_balance_k: int = 0  # 0: the camera's own
    stall_s: float = 5.0  # without a frame for so long a camera is opened anew
    reopen_backoff_s: Tuple[float, float] = (0.5, 30.0)  # the first pause, and the longest


class Gate(NamedTuple):
    """[gate]: from frames to items."""

    mode: str = "auto"
    line: float = 0.5  # where an item is decided, as a share of the belt's direction
    direction: str = "left"  # in which the belt moves in the picture
    views: int = 3  # of one item; their probabilities are averaged
    min_area_px: int = 900
    belt_speed_mps: float = 0.0  # 0: estimated
    pixels_per_metre: float = 0.0  # `scrapsort setup` measures it
    trigger: str = ""  # of mode trigger: the photo-eye, gpio:PIN or gpiod:CHIP/LINE
    trigger_delay_ms: float = 0.0  # from its edge until the thing lies in the middle of the picture
    encoder: str = ""  # what tells the belt's speed: gpio:PIN, gpiod:CHIP/LINE or modbus:HOST[:PORT]/REGISTER
    encoder_pulses_per_metre: float = 0.0  # 0: the Modbus register holds mm/s


class Model(NamedTuple):
    """[model]: what answers."""

    bundle: str = ""
    backend: str = "auto"
    precision: str = "auto"
    cuda_memory: str = "copy"  # of the tensorrt backend: copy, or mapped where GPU and CPU share their memory


class Decision(NamedTuple):
    """[decision]: from probabilities to accept or review."""

    threshold: float = 0.0  # 0: the bundle's
    stranger: bool = True  # whether what is none of the classes is looked for, where the bundle can
    per_class: Mapping[str, float] = {}


class Journal(NamedTuple):
    """[journal]: where and how durably items are recorded."""

    state: str = ""
    commit_s: float = 1.0
    commit_items: int = 32
    keep_days: int = 90  # older rows are thrown away, but not what waits for review; 0: never
    keep_rows_mb: int = 2000  # of the journal's file; beyond it the oldest rows go; 0: no limit
    keep_pictures_mb: int = 2000  # of kept pictures; beyond it the oldest go; 0: no limit
    keep_free_mb: int = 500  # below this, pictures are no longer kept and the oldest go; records still are kept


class Review(NamedTuple):
    """[review]: what people are asked."""

    override: bool = False
    active_learning: bool = False


class Health(NamedTuple):
    """[health]: what the appliance watches of itself."""

    watchdog: bool = True  # a service whose loop hangs is started anew; false: for a debugger
    max_temp_c: float = 90.0  # of a Jetson: beyond it less is sorted until it has cooled; 0: only told


class Lane(NamedTuple):
    """[[ejector.lane]]: one ejector."""

    class_name: str = ""  # `class` in the file
    bin: int = 0
    output: str = "log:"
    distance_m: float = 0.0  # from the line
    latency_ms: float = 0.0  # from the signal to the moving air
    pulse_ms: float = 60.0


class Ejector(NamedTuple):
    """[ejector]: which valve fires for which class."""

    enabled: bool = False
    min_gap_ms: float = 20.0  # a valve stays closed for so long at least
    late_ms: float = 20.0  # a firing that would be later is left out and journaled as missed
    overlap: str = "merge"  # pulses to one valve that overlap: merge into one, or queue: the second waits
    lane: Tuple[Lane, ...] = ()


class Settings(NamedTuple):
    """All settings, and the file they came from (empty: built-in defaults)."""

    source: Source = Source()
    gate: Gate = Gate()
    model: Model = Model()
    decision: Decision = Decision()
    ejector: Ejector = Ejector()
    journal: Journal = Journal()
    review: Review = Review()
    health: Health = Health()
    file: str = ""


# (section, key) -> lowest, highest; or the allowed words
RANGES: Dict[Tuple[str, str], Tuple[Any, ...]] = {
    ("source", "interval_s"): (0.0, 86400.0),
    ("source", "width"): (64, 7680),
    ("source", "height"): (64, 4320),
    ("source", "fps"): (1.0, 1000.0),
    ("source", "rotate_deg"): (0, 90, 180, 270),
    ("source", "exposure_ms"): (0.0, 1000.0),
    ("source", "white_balance_k"): (0, 20000),
    ("source", "stall_s"): (0.5, 600.0),
    ("gate", "mode"): GATE_MODES,
    ("gate", "line"): (0.1, 0.9),
    ("gate", "direction"): DIRECTIONS,
    ("gate", "views"): (1, 8),
    ("gate", "min_area_px"): (1, 10000000),
    ("gate", "belt_speed_mps"): (0.0, 10.0),
    ("gate", "pixels_per_metre"): (0.0, 100000.0),
    ("gate", "trigger_delay_ms"): (0.0, 60000.0),
    ("gate", "encoder_pulses_per_metre"): (0.0, 1000000.0),
    ("ejector", "min_gap_ms"): (0.0, 1000.0),
    ("ejector", "late_ms"): (1.0, 1000.0),
    ("ejector", "overlap"): ("merge", "queue"),
    ("ejector.lane", "bin"): (0, 1000),
    ("ejector.lane", "distance_m"): (0.0, 100.0),
    ("ejector.lane", "latency_ms"): (0.0, 1000.0),
    ("ejector.lane", "pulse_ms"): (1.0, 10000.0),
    ("decision", "threshold"): (0.0, 1.0),
    ("journal", "commit_s"): (0.0, 1.0),
    ("journal", "commit_items"): (1, 32),
    ("journal", "keep_days"): (0, 36500),
    ("journal", "keep_rows_mb"): (0, 10000000),
    ("journal", "keep_pictures_mb"): (0, 10000000),
    ("journal", "keep_free_mb"): (0, 10000000),
    ("health", "max_temp_c"): (0.0, 150.0),
    ("model", "backend"): BACKENDS,
    ("model", "precision"): PRECISIONS,
    ("model", "cuda_memory"): CUDA_MEMORY,
}

SECTIONS: Dict[str, Any] = {"source": Source, "gate": Gate, "model": Model, "decision": Decision, "ejector": Ejector,
                            "journal": Journal, "review": Review, "health": Health}


def load(path: Optional[str] = None, environ: Optional[Mapping[str, str]] = None) -> Settings:
    """Read settings from path, else $SCRAPSORT_CONFIG, else /etc/scrapsort/scrapsort.toml, else the defaults.

    Raises SettingsError with one line: file, key, value, what is allowed, nearest name.
    """
    path = path_of(path, environ)
    if not path:
        return Settings()
    return parse(_read_toml(path), path)


def path_of(path: Optional[str] = None, environ: Optional[Mapping[str, str]] = None) -> str:
    """The file that load would read; empty: none is there."""
    environ = os.environ if environ is None else environ
    return path or environ.get("SCRAPSORT_CONFIG") or (SYSTEM_FILE if os.path.lexists(SYSTEM_FILE) else "")


def parse(tables: Mapping[str, Any], path: str) -> Settings:
    """Validate parsed TOML. path is only named in errors."""
    sections = {}
    for name, table in tables.items():
        if name not in SECTIONS:
            raise SettingsError("{}: unknown section [{}]; {}".format(path, _one_line(name), nearest(name, SECTIONS)))
        if not isinstance(table, dict):
            raise SettingsError("{}: {} = {!r}: a section [{}] is needed".format(path, name, table, name))
        sections[name] = _parse_section(name, table, path)
    return Settings(file=path, **sections)


def override(settings: Settings, section: str, **values: Any) -> Settings:
    """Settings with values from the command line in place; None leaves a value as it is. Raises SettingsError."""
    given = {key: value for key, value in values.items() if value is not None}
    for key, value in given.items():
        given[key] = _check(section, key, value, getattr(SECTIONS[section](), key), "command line")
    return settings._replace(**{section: getattr(settings, section)._replace(**given)})


@contextmanager
def naming(settings: Settings) -> Iterator[None]:
    """What is found wrong with the settings within this, long after they were read, names their file, too."""
    try:
        yield
    except SettingsError as error:
        if not settings.file or str(error).startswith(settings.file + ": "):
            raise
        raise SettingsError("{}: {}".format(settings.file, error))


def _parse_section(section: str, table: Mapping[str, Any], path: str) -> Any:
    defaults = SECTIONS[section]()
    values = {}
    for key, value in table.items():
        if key not in defaults._fields:
            raise SettingsError("{}: unknown key {}.{}; {}".format(
                path, section, _one_line(key), nearest(key, defaults._fields)))
        values[key] = _check(section, key, value, getattr(defaults, key), path)
    return defaults._replace(**values)


def _check(section: str, key: str, value: Any, default: Any, path: str) -> Any:
    """The value, with whole numbers accepted for floats; raises SettingsError when it is not allowed."""
    if section == "decision" and key == "per_class":
        return _check_per_class(value, path)
    if section == "ejector" and key == "lane":
        return _check_lanes(value, path)
    if isinstance(default, tuple):
        return _check_numbers(section, key, value, default, path)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    if type(value) is not type(default):
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
        raise SettingsError("{}: {}.{} = {!r}: {} is needed".format(path, section, key, value, kind[type(default)]))
    allowed = RANGES.get((section, key))
    if allowed and isinstance(default, str) and value not in allowed:
        raise SettingsError("{}: {}.{} = {!r}: {}".format(path, section, key, value, nearest(value, allowed)))
    if allowed and len(allowed) > 2 and value not in allowed:
        raise SettingsError("{}: {}.{} = {!r}: allowed: {}".format(path, section, key, value,
                                                                   ", ".join(map(str, allowed))))
    if allowed and not isinstance(default, str) and not allowed[0] <= value <= allowed[-1]:
        raise SettingsError("{}: {}.{} = {!r}: from {} to {} is allowed".format(
            path, section, key, value, allowed[0], allowed[-1]))
    return value


def _check_numbers(section: str, key: str, value: Any, default: Tuple[Any, ...], path: str) -> Tuple[Any, ...]:
    """A list of as many numbers as the default has, none negative, and of two the smaller first."""
    kind = (int, float) if isinstance(default[0], float) else (int,)
    if (not isinstance(value, (list, tuple)) or len(value) != len(default)
            or any(isinstance(one, bool) or not isinstance(one, kind) or not 0 <= one < 1e9 for one in value)
            or (len(default) == 2 and not 0 < value[0] <= value[1])):
        raise SettingsError("{}: {}.{} = {!r}: {} {} are needed, such as {}".format(
            path, section, key, value, len(default),
            "growing numbers above 0" if len(default) == 2 else "whole numbers from 0 on", list(default)))
    return tuple(type(default[0])(one) for one in value)


def _check_lanes(value: Any, path: str) -> Tuple[Lane, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, dict) for one in value):
        raise SettingsError("{}: ejector.lane = {!r}: sections [[ejector.lane]] are needed".format(path, value))
    lanes: List[Lane] = []
    for number, table in enumerate(value, 1):
        given = {("class_name" if key == "class" else key): one for key, one in table.items()}
        for key in given:
            if key not in Lane._fields or key in table and key == "class_name":
                names = ["class" if name == "class_name" else name for name in Lane._fields]
                raise SettingsError("{}: unknown key ejector.lane.{} of lane {}; {}".format(
                    path, _one_line(key), number, nearest(key, names)))
        checked = {key: _check("ejector.lane", key, one, getattr(Lane(), key), path) for key, one in given.items()}
        lane = Lane(**checked)
        if not lane.class_name:
            raise SettingsError("{}: ejector.lane {} has no class; say which class it ejects".format(path, number))
        if any(lane.class_name == other.class_name for other in lanes):
            raise SettingsError("{}: ejector.lane {}: class {!r} has one already; one lane for each class".format(
                path, number, lane.class_name))
        lanes.append(lane)
    return tuple(lanes)


def _check_per_class(value: Any, path: str) -> Dict[str, float]:
    if not isinstance(value, dict):
        raise SettingsError("{}: decision.per_class = {!r}: a section [decision.per_class] is needed".format(
            path, value))
    for name, threshold in value.items():
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise SettingsError("{}: decision.per_class.{} = {!r}: from 0.0 to 1.0 is allowed".format(
                path, _one_line(name), threshold))
    return {name: float(threshold) for name, threshold in value.items()}


def _one_line(name: str) -> str:
    """A key as it stands in the file; TOML allows line breaks in quoted ones."""
    return name if name.isprintable() else repr(name)


def nearest(name: str, allowed: Any) -> str:
    """What a message about a wrong name ends with: the one that was probably meant, and all that are allowed."""
    close = difflib.get_close_matches(name, list(allowed), 1)
    hint = "did you mean {}? ".format(close[0]) if close else ""
    return "{}allowed: {}".format(hint, ", ".join(allowed))


def _read_toml(path: str) -> Mapping[str, Any]:
    try:
        import tomllib as toml  # novm
    except ImportError:  # before Python 3.11
        try:
            import tomli as toml  # type: ignore[no-redef]  # the same module under its older name
        except ImportError:
            raise SettingsError("{}: reading TOML needs tomli on this Python; run: python3 -m pip install tomli".format(
                path))
    try:
        with open(path, "rb") as file:
            return toml.loads(file.read().decode("utf-8"))
    except OSError as error:
        remedy = "; be root or in group scrapsort" if isinstance(error, PermissionError) else ""
        reason = ("is no file: " if isinstance(error, IsADirectoryError) else "") + str(error.strerror)
        raise SettingsError("{}: settings cannot be read: {}{}".format(path, reason, remedy))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError, endless numbers, deep nesting
        raise SettingsError("{}: not valid TOML: {}".format(path, error))


def state_folder(given: Optional[str], settings: Settings, environ: Optional[Mapping[str, str]] = None) -> str:
    """Where the journal lives: given, $STATE_DIRECTORY, [journal] state, else $XDG_STATE_HOME/scrapsort."""
    environ = os.environ if environ is None else environ
    listed = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd separates several by colons
    chosen = given or listed or settings.journal.state
    if not chosen:
        home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
        chosen = os.path.join(home, "scrapsort")
    return os.path.abspath(os.path.expanduser(chosen))
