"""How a bundle does on pictures from elsewhere: another plant, camera or country, none of them trained on.

Decided as the appliance would decide, with the bundle's thresholds and stranger score: what counts there is less how
many are right than how many of those that it dares to accept.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.bundles import Bundle
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.decision import ACCEPT, Decider
from edge.errors import PictureError
from edge.frames import pictures
from trainer.errors import TrainerError
from trainer.metrics import summarise
from trainer.statistics import bootstrap_intervals, clopper_pearson_lower

CONFIDENCE = 0.9  # of the lower bound of purity


def labelled_pictures(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The pictures in folder/CLASS/ and their classes, in the order of their names. Raises TrainerError."""
    names = [c for c in classes if (folder / c).is_dir()]
    if not names:
        raise TrainerError(f"{folder}: no folder of a class in it; it needs {', '.join(classes)} or some of them")
    found = [(path, classes.index(name)) for name in names for path in sorted((folder / name).iterdir())
             if pictures.format_of_name(path.name)]
    if not found:
        raise TrainerError(f"{folder}: no pictures in {', '.join(names)}")
    return found


def judge(bundle: Bundle, role: str, folder: Path) -> dict:
    """Scores of one role on folder/CLASS/*; a picture that cannot be read is listed and left out."""
    decider = Decider.from_settings(bundle, 0.0, {})
    logits, labels, calls, bad = [], [], [], []
    with OnnxRuntimeClassifier(bundle, role) as classifier:
        for path, label in tqdm(labelled_pictures(folder, bundle.classes), desc=f"elsewhere {role}", unit="picture",
                                leave=False):
            try:
                answer = classifier.classify([pictures.read(str(path))])
            except (PictureError, ValueError) as error:
                bad.append({"path": f"{path.parent.name}/{path.name}", "error": str(error)})
                continue
            calls.append(decider.decide(answer))
            logits.append(answer.logits[0].copy())
            labels.append(label)
    if not labels:
        raise TrainerError(f"{folder}: none of its pictures can be read; {bad[0]['path']}: {bad[0]['error']}")
    truth = np.array(labels)
    right = np.array([bundle.classes.index(call.class_name) for call in calls]) == truth
    accepted = np.array([call.decision == ACCEPT for call in calls])
    count, hits = int(accepted.sum()), int(right[accepted].sum())
    scores = summarise(np.stack(logits), truth, list(bundle.classes), bundle.temperature)
    scores["intervals"] = bootstrap_intervals(np.stack(logits), truth, bundle.classes, temperature=bundle.temperature)
    return scores | {
        "folder": folder.name, "role": role, "unreadable": bad, "accepted": count, "accepted_right": hits,
        "review_share": 1 - count / len(labels), "reasons": dict(Counter(call.reason for call in calls if call.reason)),
        "purity": hits / count if count else None,
        "purity_lower_bound": clopper_pearson_lower(hits, count, CONFIDENCE) if count else None}


def lines(scores: dict) -> list[str]:
    """The scores for people."""
    low, high = scores["intervals"]["accuracy"]
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(scores["reasons"].items())) or "none"
    text = [f"{scores['role']}, {scores['folder']}, {scores['pictures']} pictures: accuracy {scores['accuracy']:.4f} "
            f"[{low:.3f}, {high:.3f}], to review {scores['review_share']:.1%} ({reasons})"]
    if scores["accepted"]:
        text.append(f"    accepted {scores['accepted']}, right {scores['accepted_right']}: "
                    f"purity {scores['purity']:.3f}, "
                    f"at least {scores['purity_lower_bound']:.3f} at confidence {CONFIDENCE}")
    else:
        text.append("    accepted none")
    text += [f"    {entry['path']}: left out: {entry['error']}" for entry in scores["unreadable"]]
    return text
