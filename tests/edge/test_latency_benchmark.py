"""benchmarks latency: what its result says, and when it calls a figure valid."""

import json
import os
import time

import numpy as np
import pytest
from jetson_trees import NANO, XAVIER, lay

from benchmarks import steady
from benchmarks.sampling import OtherLoad, Sampler, judge, summarise
from edge.bundles import Bundle
from edge.classifier import open_classifier
from edge.health.telemetry import Frequency, Reading, Telemetry

# ---------------------------------------------------------------- whether a figure may be believed

def clock(mhz, pinned=True, governor="performance"):
    return Frequency(int(mhz * 1e6), int((mhz if pinned else mhz / 4) * 1e6), int(mhz * 1e6), governor)


def looks(*changes, **usual):
    """Readings of a board that runs steadily, each with its changes."""
    usual = dict({"source": "sysfs", "temperatures_c": {"cpu": 50.0, "tj": 60.0}, "jetson_clocks": True,
                  "clocks": {"cpu0": clock(1479), "gpu": clock(921.6)}, "nvpmodel": "MAXN",
                  "events": {"oc3_event_cnt": 37}, "total_mw": 7000.0}, **usual)
    return [(index / 2.0, Reading(**dict(usual, **change))) for index, change in enumerate(changes)]


STEADY = ({}, {}, {}, {})
TRIPS_C = {"tj": 99.0, "cpu": 82.0}


def test_steady_clocks_are_valid():
    assert judge(looks(*STEADY), TRIPS_C, 400, on_gpu=True, others=0.02) == (True, [], [])


@pytest.mark.parametrize("word, changes, measured, others, reason", [
    ("the GPU slows down", ({}, {"clocks": {"cpu0": clock(1479), "gpu": clock(614.4)}}, {}), 400, 0.0,
     "the clocks moved: gpu from 614 to 922 MHz"),
    ("a core slows down", ({}, {}, {"clocks": {"cpu0": clock(1400), "gpu": clock(921.6)}}), 400, 0.0,
     "the clocks moved: cpu0 from 1400 to 1479 MHz"),
    ("throttled once", ({}, {"throttling": ("gpu-throttle-alert",)}, {}), 400, 0.0, "throttled by gpu-throttle-alert"),
    ("too little current", ({}, {}, {"events": {"oc3_event_cnt": 40}}), 400, 0.0, "oc3_event_cnt went up by 3"),
    ("too hot", ({}, {"temperatures_c": {"tj": 99.5}}, {}), 400, 0.0,
     "tj reached 99.5 C; from 99.0 C on it is slowed down"),
    ("the mode was changed", ({}, {"nvpmodel": "5W"}, {}), 400, 0.0, "the power mode changed: 5W, MAXN"),
    ("too few items", STEADY, 99, 0.0, "99 items were measured: 100 are needed for a 99th percentile"),
    ("too short", ({}, {}), 400, 0.0, "only 2 look(s) at the clocks: measure for longer (--seconds)"),
    ("not alone", STEADY, 400, 0.3, "other processes took 30% of the processors' time"),
])
def test_what_spoils_a_figure_is_named(word, changes, measured, others, reason):
    verdict = judge(looks(*changes), TRIPS_C, measured, on_gpu=True, others=others)
    assert (verdict.valid, verdict.reasons) == (False, [reason])
    assert verdict.word == "INVALID: " + reason


def test_a_clock_may_tremble():
    trembling = looks({}, {"clocks": {"cpu0": clock(1479), "gpu": clock(921.6 * 0.98)}}, {})
    assert judge(trembling, {}, 400, on_gpu=True).valid is True


def test_where_the_gpu_idles_its_clock_may_move():
    moving = looks({}, {"clocks": {"cpu0": clock(1479), "gpu": clock(76.8)}}, {})
    assert judge(moving, {}, 400, on_gpu=False).valid is True
    assert judge(moving, {}, 400, on_gpu=True).valid is False


def test_without_clocks_it_is_unknown_and_never_valid():
    verdict = judge(looks(*STEADY, clocks={}), {}, 400, on_gpu=False)
    assert verdict.valid is None and verdict.word == "unknown: clocks cannot be read here"
    only_cpu = looks(*STEADY, clocks={"cpu0": clock(1479)})
    assert judge(only_cpu, {}, 400, on_gpu=True).word == "unknown: the GPU's clock cannot be read here"
    assert judge(looks(*STEADY, clocks={}), {}, 5, on_gpu=False).valid is False  # that much is known
    assert judge([], {}, 400, on_gpu=False).valid is None


def test_notes_on_how_the_board_is_set():
    notes = judge(looks(*STEADY, jetson_clocks=False, nvpmodel="MODE_10W"), {}, 400, on_gpu=True).notes
    assert notes == ["jetson_clocks is off: sudo jetson_clocks", "the power mode is MODE_10W, not MAXN"]
    laptop = looks(*STEADY, jetson_clocks=None, nvpmodel="", clocks={"cpu0": clock(2000, False, "powersave")})
    assert judge(laptop, {}, 400, on_gpu=False).notes == ["the governor of cpu0 is powersave, not performance"]


def test_the_sampler_looks_before_during_and_after(tmp_path):
    telemetry = Telemetry(lay(tmp_path, NANO))
    with Sampler(telemetry, period_s=0.01) as sampler:
        lay(tmp_path / "new", {"cur_freq": 614400000})
        os.replace(str(tmp_path / "new" / "cur_freq"), str(tmp_path / "sys/class/devfreq/57000000.gpu/cur_freq"))
        deadline = time.monotonic() + 20
        while len(sampler.samples) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(sampler.samples) >= 7
    assert sampler.samples[0][1].clocks["gpu"].now_hz == 921600000
    assert sampler.samples[-1][1].clocks["gpu"].now_hz == 614400000
    assert judge(sampler.samples, telemetry.trips_c, 400, on_gpu=True).valid is False
    under = summarise(sampler.samples)
    assert under["clocks_hz"]["gpu"] == [614400000, 921600000]
    assert under["total_mw"] == 7350 and under["hottest_c"]["cpu"] == 37.0 and under["nvpmodel"] == "MAXN"


def test_the_load_of_others_is_not_ones_own(tmp_path, monkeypatch):
    own_s = [10.0]
    monkeypatch.setattr(time, "process_time", lambda: own_s[0])
    stat = "cpu  {} 0 0 {} 0 0 0 0 0 0\n"
    lay(tmp_path, {"proc/stat": stat.format(1000, 1000)})
    others = OtherLoad(str(tmp_path))
    lay(tmp_path, {"proc/stat": stat.format(1000 + 5000, 1000 + 5000)})
    assert others.share() == 0.5
    own_s[0] += 5000 * 0.8 / os.sysconf("SC_CLK_TCK")
    assert others.share() == pytest.approx(0.1)
    lay(tmp_path, {"proc/stat": stat.format(1000, 100000)})
    assert others.share() == 0.0
    assert OtherLoad(str(tmp_path / "nowhere")).share() is None


# ---------------------------------------------------------------- the steady load

class Engine:
    """As a TensorRT classifier shows itself to the benchmark."""

    backend, device = "tensorrt", "NVIDIA Tegra X1"

    def __init__(self):
        self.timed, self.stages_ms, self.calls = False, {}, 0

    def classify(self, views):
        self.calls += 1
        if self.timed:
            self.stages_ms = {"copy in": 0.5, "kernel": 0.25, "infer": 10.0 + self.calls, "copy out": 0.125}


@pytest.mark.long
def test_a_board_under_steady_load(tmp_path):
    engine = Engine()
    measured = steady.measure(engine, [np.zeros((4, 4, 3), np.uint8)], 120, 1.2, 7, Telemetry(lay(tmp_path, NANO)))
    values = json.loads(json.dumps(measured.as_dict()))
    assert not [reason for reason in values["reasons"] if "other processes" not in reason]
    assert values["items"] == engine.calls - 7 >= 120 and values["seconds"] >= 1.2
    assert list(values["samples_ms"]) == ["copy in", "kernel", "infer", "copy out", "end to end"]
    assert all(len(times) == values["items"] for times in values["samples_ms"].values())
    assert values["samples_ms"]["infer"][0] == 18.0  # the warm-up is not among them
    assert values["stages_ms"]["copy in"] == {"p50": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5}
    assert values["items_per_s"] == values["items"] / values["seconds"]
    assert values["joules_per_item"] == pytest.approx(7.35 * values["seconds"] / values["items"])
    assert values["items_per_joule"] == pytest.approx(1 / values["joules_per_item"])
    assert len(values["telemetry"]) >= 3 and values["telemetry"][0]["power_mw"]["POM_5V_GPU"] == 3120
    assert engine.timed is False


def test_without_jetson_clocks_a_xavier_gets_a_note(tmp_path):
    measured = steady.measure(Engine(), [np.zeros((4, 4, 3), np.uint8)], 100, 0, 1, Telemetry(lay(tmp_path, XAVIER)))
    assert "jetson_clocks is off: sudo jetson_clocks" in measured.verdict.notes
    assert "throttled by curr2_max_alarm of CPU" in measured.verdict.reasons
    assert measured.verdict.valid is False


def test_onnx_runtime_tells_its_stages_only_when_asked(make_bundle):
    view = np.zeros((20, 30, 3), np.uint8)
    with open_classifier(Bundle(make_bundle()), "onnxruntime", "fp16") as classifier:
        classifier.classify([view])
        assert classifier.stages_ms == {}
        classifier.timed = True
        answer = classifier.classify([view])
        assert set(classifier.stages_ms) == {"preprocess", "infer"}
        assert 0 < classifier.stages_ms["infer"] <= answer.infer_ms
        assert 0 < classifier.stages_ms["preprocess"] <= answer.preprocess_ms


# ---------------------------------------------------------------- the command

def test_latency_of_two_precisions(make_bundle, tmp_path, benchmark):
    bundle, out = make_bundle(), tmp_path / "out.json"
    code, output, errors = benchmark(
        "latency", "--bundle", bundle, "--state", tmp_path / "state", "--backend", "onnxruntime", "--precision", "fp16",
        "int8", "--items", 5, "--seconds", 0, "--warm-up", 2, "-o", out)
    assert code == 0, errors
    result = json.loads(out.read_text())
    assert result["format"] == "scrapsort-latency-2" and result["date_utc"].endswith("Z")
    assert result["command"][0] == "latency" and "--warm-up" in result["command"]
    assert result["bundle"] == {"name": "tiny", "version": "1", "seal": Bundle(bundle).manifest["seal"]}
    assert {"processor", "cores", "python", "onnxruntime", "scrapsort"} <= set(result["machine"])
    assert list(result["precisions"]) == ["fp16", "int8"]
    for precision, role in (("fp16", "fp16"), ("int8", "int8_cpu")):
        one = result["precisions"][precision]
        assert (one["backend"], one["role"], one["device"]) == ("onnxruntime", role, "CPUExecutionProvider")
        assert one["memory"] is None  # copy or mapped is a question of TensorRT alone
        assert one["sha256"] == Bundle(bundle).files[role].sha256
        assert set(one["steady"]["samples_ms"]) == {"preprocess", "infer", "end to end"}
        assert one["steady"]["items"] == 5 == len(one["rows_samples_ms"]["whole item"])
        assert one["steady"]["valid"] is False  # of five items
        rows = one["rows"]
        assert {"decode", "preprocess", "inference", "decide", "journal", "whole item",
                "bare session.run"} <= set(rows)  # and the naive way where Pillow is
        assert one["whole_without_decode_to_bare"] == pytest.approx(
            rows["whole item without decode"]["p50"] / rows["bare session.run"]["p50"])
    assert "INVALID: " in output and "5 items were measured: 100 are needed" in output
    assert output.count("| end to end |") == 2


@pytest.mark.long
def test_alone_and_one_precision_that_is_missing(make_bundle, tmp_path, benchmark):
    out = tmp_path / "out.json"
    words = ["latency", "--bundle", make_bundle(roles=("fp16",)), "--state", tmp_path / "state", "--backend",
             "onnxruntime", "--items", 3, "--seconds", 0, "--alone", "-o", out]
    code, output, errors = benchmark(*words + ["--precision", "int8", "fp16"])
    assert code == 0, errors
    result = json.loads(out.read_text())
    assert list(result["precisions"]) == ["fp16"] and "rows" not in result["precisions"]["fp16"]
    assert "has no model for precision int8" in result["failed"]["int8"]
    assert errors.startswith("benchmarks latency: int8: ") and len(errors.splitlines()) == 1
    code, output, errors = benchmark(*words + ["--precision", "int8"])
    assert code == 1 and len(errors.splitlines()) == 1 and "has no model for precision int8" in errors


def test_where_the_result_cannot_be_written_is_one_line(make_bundle, tmp_path, benchmark):
    code, _, errors = benchmark("latency", "--bundle", make_bundle(), "--state", tmp_path / "state", "--items", 1,
                                "--seconds", 0, "--precision", "fp16", "--alone", "-o", tmp_path / "none" / "out.json")
    assert code == 1 and errors.splitlines()[-1].endswith("out.json: cannot be written: No such file or directory")
    assert "Traceback" not in errors
