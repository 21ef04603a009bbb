"""scrapsort fire: one ejector, with the belt locked out."""

import os
import threading

import pytest
from helpers import scrapsort, until
from test_outputs import Plc

from edge.journal import StateLock
from edge.locks import HeldError, MachineLock

LANES = """
[[ejector.lane]]
class = "metal"
bin = 3
output = "{}"
distance_m = 0.8
pulse_ms = 20
[[ejector.lane]]
class = "glass"
bin = 4
output = "log:glass"
"""


@pytest.fixture
def fire(tmp_path):
    """fire(*arguments, output="log:metal") -> (exit code, stdout, stderr)."""
    def run(*arguments, **options):
        config = tmp_path / "scrapsort.toml"
        config.write_text(LANES.format(options.get("output", "log:metal")))
        return scrapsort("fire", "--config", config, "--state", tmp_path / "state", *arguments)
    return run


def test_pulses_are_given_and_told(fire):
    code, out, errors = fire("metal", "--pulses", "2", "--every", "0.1")
    assert code == 0
    assert out.splitlines() == ["pulse {}: lane metal, bin 3, log:metal: 20 ms".format(n) for n in (1, 2)]
    lines = [line.split("output ")[1] for line in errors.splitlines() if "output " in line]
    assert lines == ["log:metal on", "log:metal off"] * 2


def test_by_number(fire):
    code, out, _ = fire("2")
    assert code == 0 and "lane glass, bin 4" in out


@pytest.mark.long
def test_a_coil_of_a_plc(fire):
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    plc = Plc()
    try:
        seen = []
        watching = threading.Thread(target=lambda: until(lambda: seen or (plc.coil(5) and seen.append(1))))
        watching.start()
        code, out, _ = fire("metal", "--pulses", "3", "--every", "0.2",
                            output="modbus:127.0.0.1:{}/5".format(plc.port))
        watching.join()
        assert code == 0 and out.endswith("/5: 20 ms\n") and seen and not plc.coil(5)
    finally:
        plc.kill()
    code, out, errors = fire("metal", output="modbus:127.0.0.1:{}/5".format(plc.port))
    assert code == 1 and "FAILED" in out and "no connection" in errors


def test_while_a_belt_is_sorted_it_is_refused(fire, tmp_path):
    with StateLock(str(tmp_path / "state")):
        code, out, errors = fire("metal")
    assert code == 1 and out == "" and "in use by process {}".format(os.getpid()) in errors


def test_an_output_that_another_process_fires_is_refused(fire):
    coil = os.getpid() % 60000
    held = MachineLock("output", "modbus:127.0.0.1:1/coil/{}?unit=1".format(coil))
    with pytest.raises(HeldError):
        MachineLock("output", "modbus:127.0.0.1:1/coil/{}?unit=1".format(coil))
    code, out, errors = fire("metal", output="modbus:127.0.0.1:1/{}".format(coil))  # another name for it
    held.close()
    assert code == 1 and out == ""
    assert "[ejector] modbus:127.0.0.1:1/{}: in use by process {}".format(coil, os.getpid()) in errors


@pytest.mark.parametrize("arguments, names", [
    (("metall",), ["'metall'", "did you mean metal", "glass"]),
    (("metal", "--every", "0.03"), ["--every 0.03"]),
    (("metal", "--every", "nan"), ["--every nan"]),
    (("2", "--every", "0.06"), ["shorter than a pulse of 60 ms"]),
])
def test_wrong_usage_is_one_line(fire, arguments, names):
    code, out, errors = fire(*arguments)
    assert code == 2 and out == "" and len(errors.splitlines()) == 1
    assert all(name in errors for name in names)


def test_without_lanes_there_is_nothing_to_fire(tmp_path):
    code, _, errors = scrapsort("fire", "metal", "--state", tmp_path)
    assert code == 2 and "no [[ejector.lane]]" in errors
