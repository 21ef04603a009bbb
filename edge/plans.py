"""TensorRT engines on the disk: NAME.plan and its sidecar NAME.json, which says what it was made from and measured.

A plan is used only if its whole fingerprint fits this machine and model, its bytes are those that were built, and it
gave its role's golden answers. engines/ writes them, edge.classifier reads them.
"""

import hashlib
import json
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from edge.errors import PlanError
from edge.files import write_durably

FORMAT = "scrapsort-engine-1"
FOLDER = "engines"  # in the state folder
ROLE_OF = {"fp32": "fp32", "fp16": "fp16", "int8": "int8_trt"}  # the model that a precision is built from
SIMPLER = ("fp32", "fp16", "int8")  # each must be faster than the one before it


class Fingerprint(NamedTuple):
    """What a plan depends on. Options are the builder's: two plans may differ in them alone."""

    onnx_sha256: str
    precision: str  # fp32, fp16 or int8
    tensorrt: str  # 8.2.1.8
    cuda: str  # of the driver API, such as 10.2
    gpu: str  # NVIDIA Tegra X1
    compute_capability: str  # 5.3
    l4t: str  # empty off a Jetson

    def differences(self, other: "Fingerprint") -> List[str]:
        """The fields in which other differs, each as `tensorrt 8.2.1.8, not 8.5.2.2`."""
        return ["{} {}, not {}".format(name.replace("_", " "), mine or "none", theirs or "none")
                for name, mine, theirs in zip(self._fields, self, other) if mine != theirs]


class Sidecar(NamedTuple):
    """What stands beside a plan."""

    fingerprint: Fingerprint
    plan_sha256: str
    bundle: str  # name and version, for people
    role: str  # whose golden answers it was held against
    options: Dict[str, Any] = {}  # workspace_mb, opt_level, dla_core (None: none), timing_cache
    build_s: float = 0.0
    built_utc: str = ""
    golden: Dict[str, Any] = {}  # pictures, decided, agreed, worst_error, tolerance
    latency_ms: Dict[str, float] = {}  # p50, p95, p99, max, n
    layers: Dict[str, int] = {}  # how many layers run in which precision, where TensorRT tells
    tactics: Dict[str, str] = {}  # the kernel chosen for each layer, where it tells that
    refused: str = ""  # why it must not be used; empty: it may
    slower: str = ""  # why auto passes it over: a simpler engine is faster; empty: it does not


class Plan(NamedTuple):
    """One plan on the disk."""

    path: str  # of the .plan
    sidecar: Sidecar

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return os.path.splitext(os.path.basename(self.path))[0]

    def read(self) -> bytes:
        """The plan's bytes. Raises PlanError when they are not those that were built."""
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise PlanError("{}: cannot be read: {}; run: python3 -m engines build".format(
                self.path, error.strerror or error))
        if hashlib.sha256(data).hexdigest() != self.sidecar.plan_sha256:
            raise PlanError("{}: is damaged: its sha256 is not the one of {}; run: python3 -m engines build".format(
                self.path, os.path.basename(_sidecar_path(self.path))))
        return data


def folder_of(state: str) -> str:
    """Where the plans of a state folder lie."""
    return os.path.join(state, FOLDER)


def name_of(fingerprint: Fingerprint, dla_core: Optional[int] = None) -> str:
    """A plan's file name without suffix, of model and precision: a rebuilt plan takes the place of the old one."""
    return "{}-{}{}".format(fingerprint.onnx_sha256[:12], fingerprint.precision,
                            "" if dla_core is None else "-dla{}".format(dla_core))


def write(folder: str, name: str, data: bytes, sidecar: Sidecar) -> Plan:
    """Put a plan and then its sidecar into folder, each durably: a plan without a fitting sidecar is no plan.

    Raises OSError.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name + ".plan")
    write_durably(path, data)
    write_durably(_sidecar_path(path), as_json(sidecar))
    return Plan(path, sidecar)


def rewrite(plan: Plan, sidecar: Sidecar) -> Plan:
    """Give a plan another sidecar. Raises OSError."""
    write_durably(_sidecar_path(plan.path), as_json(sidecar))
    return plan._replace(sidecar=sidecar)


def as_json(sidecar: Sidecar) -> bytes:
    """The sidecar as it stands on the disk."""
    values = dict(sidecar._asdict(), fingerprint=dict(sidecar.fingerprint._asdict()), format=FORMAT)
    return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode("utf-8")


def find(folder: str) -> Tuple[List[Plan], List[str]]:
    """The plans in folder by name, and what cannot be read there, a line each."""
    plans, troubles = [], []
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        path = os.path.join(folder, name)
        if not name.endswith(".plan") or name.startswith("."):
            continue
        try:
            plans.append(Plan(path, _read_sidecar(path)))
        except PlanError as error:
            troubles.append(str(error))
    return plans, troubles


def fitting(folder: str, wanted: Fingerprint) -> Tuple[List[Plan], List[str]]:
    """The plans that may be used for wanted, and for each other one of the same precision the reason why not.

    A plan of another model is no trouble: it is another bundle's.
    """
    plans, troubles = find(folder)
    usable = []
    for plan in plans:
        made_for = plan.sidecar.fingerprint
        if (made_for.onnx_sha256, made_for.precision) != (wanted.onnx_sha256, wanted.precision):
            continue
        differences = made_for.differences(wanted)
        if differences:
            troubles.append("{}: was built for {}; run: python3 -m engines build".format(plan.path,
                                                                                       ", ".join(differences)))
        elif plan.sidecar.refused:
            troubles.append("{}: {}".format(plan.path, plan.sidecar.refused))
        else:
            usable.append(plan)
    return usable, troubles


def _sidecar_path(plan_path: str) -> str:
    return os.path.splitext(plan_path)[0] + ".json"


def _read_sidecar(plan_path: str) -> Sidecar:
    path = _sidecar_path(plan_path)
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
        if values.pop("format") != FORMAT:
            raise ValueError("its format is not {}".format(FORMAT))
        return Sidecar(**dict(values, fingerprint=Fingerprint(**values["fingerprint"])))
    except OSError as error:
        raise PlanError("{}: cannot be read: {}; run: python3 -m engines build".format(path, error.strerror or error))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError("{}: is damaged: {}; run: python3 -m engines build".format(path, error))
