"""The judge of belt runs is judged: each kind of mistake is counted as what it is."""

import pytest

from benchmarks.belt import Judged, TrueItem, gap, groups_of, judge, lines, page

SPEED = 0.5
# Items 0.2 m long at 10, 11, ... s; the one at 13.3 touches that at 13
TRUTH = [TrueItem(n, name, "/p/{}.jpg".format(n), at, touching, 0.2) for n, (name, at, touching) in enumerate([
    ("glass", 10.0, False), ("metal", 11.0, False), ("glass", 12.0, False), ("paper", 13.0, True),
    ("paper", 13.3, True), ("metal", 14.5, False)])]


def record(at, name, decision="accept", reason=None):
    return Judged("sim:#1", name, decision, reason, at)


RIGHT = [record(10.01, "glass"), record(11.0, "metal"), record(12.02, "glass"),
         record(13.15, "paper", "review", "cluster"), record(14.5, "metal")]


def test_what_touches_is_one_group():
    assert [[item.number for item in group] for group in groups_of(TRUTH, SPEED)] == [[0], [1], [2], [3, 4], [5]]


@pytest.mark.parametrize("word, records, expected", [
    ("all right", RIGHT, {}),
    ("one missed", RIGHT[1:], {"missed": 1, "miscounted": 1 / 6.0}),
    ("one twice", RIGHT + [record(10.1, "glass")], {"doubled": 1, "miscounted": 1 / 6.0}),
    ("one out of nothing", RIGHT + [record(16.0, "glass")], {"ghosts": 1, "miscounted": 1 / 6.0}),
    ("a guess about a cluster", RIGHT[:3] + [record(13.15, "paper")] + RIGHT[4:],
     {"touching_groups_wrong": 1, "miscounted": 1 / 6.0, "wrong_bin": 1, "accepted": 5}),
    ("a cluster in two", RIGHT + [record(13.0, "paper", "review", "cluster")],
     {"touching_groups_wrong": 1, "miscounted": 1 / 6.0}),
    ("a single one flagged", [record(10.0, "glass", "review", "cluster")] + RIGHT[1:],
     {"singles_taken_for_clusters": 1, "accepted": 3}),
    ("the wrong bin", [record(10.0, "metal")] + RIGHT[1:], {"wrong_bin": 1, "accuracy": 0.75}),
])
def test_each_mistake_is_counted_as_what_it_is(word, records, expected):
    figures = judge(TRUTH, records, SPEED, {})
    usual = {"missed": 0, "doubled": 0, "ghosts": 0, "touching_groups": 1, "touching_groups_wrong": 0,
             "miscounted": 0.0, "singles_taken_for_clusters": 0, "wrong_bin": 0, "accuracy": 1.0, "accepted": 4,
             "true": 6}
    if word == "one missed":
        usual.update(accepted=3)
    if word in ("one twice", "one out of nothing"):
        usual.update(accepted=5)
    if word == "one out of nothing":
        usual.update(accepted=4)  # it lies in no item's place, so in no bin that is judged
    assert {key: figures[key] for key in usual} == dict(usual, **expected)


def test_purity_recovery_and_time():
    figures = judge(TRUTH, [record(10.01, "metal")] + RIGHT[1:], SPEED, {"/p/0.jpg": "glass", "/p/1.jpg": "paper"})
    assert figures["per_bin"]["metal"] == {"purity": pytest.approx(2 / 3.0), "recovery": 1.0}
    assert figures["per_bin"]["glass"] == {"purity": 1.0, "recovery": 0.5}
    assert figures["accuracy_as_files"] == 0.5
    assert figures["line_error_ms"]["max"] == pytest.approx(20.0) and figures["line_error_ms"]["p50"] < 11
    text = "\n".join(lines(dict(figures, speed_mps=0.5, touching=0.1, seconds=3)))
    assert "purity   66.67%" in text and "0 missed" in text and "max 20.0 ms" in text


def test_the_gap_to_files_is_one_of_pictures_not_of_items():
    lost = [(("p{}".format(n), False, True), ("p{}".format(n), False, True)) for n in range(5)]
    same = [(("p{}".format(n), True, True), ("p{}".format(n), True, True)) for n in range(5, 100)]
    points, low, high = gap([row for rows in lost + same for row in rows])
    assert points == pytest.approx(-5.0) and -11 < low < -7 and -2.5 < high < 0
    once = gap([rows[0] for rows in lost + same])
    assert once == (points, low, high)  # to show each picture again tells nothing new
    assert gap([]) is None


def test_the_page_says_what_was_printed_and_no_folder():
    figures = dict({"speed_mps": SPEED, "touching": 0.1, "seconds": 7}, **judge(TRUTH, RIGHT, SPEED, {}))
    told = dict.fromkeys(("processor", "cores", "python", "onnxruntime", "opencv"), "m")
    text = page({"machine": told, "bundle": "b 1", "source": "photographs as tiles", "items": 6, "runs": [figures],
                 "gate_ms": {"p50": 5.0, "p99": 9.0}}, ["belt", "--source", "/private/pictures", "--items", "6"])
    assert "python3 -m benchmarks belt --source pictures --items 6`" in text and "/private" not in text
    assert "\n".join(lines(figures)) in text and "p99 9.0 ms" in text
