"""What the journal keeps of one item."""

from typing import NamedTuple, Optional, Tuple

from edge.classifier.base import Answer, Classifier
from edge.decision import ERROR, Call
from edge.gate import Item


class Override(NamedTuple):
    """A person's word on an item."""

    class_name: str
    by: str
    wall_s: float


class Record(NamedTuple):
    """One item as it will stand in the table items; the journal adds the run's own columns."""

    sequence: int
    source: str
    source_key: str
    captured_mono_s: float
    captured_wall_s: float
    decision: str  # accept, review or error
    class_name: Optional[str] = None
    confidence: Optional[float] = None
    probabilities: Tuple[float, ...] = ()
    threshold: Optional[float] = None  # None: of an error, or of a class that is never accepted
    model_version: str = ""
    backend: str = ""
    precision: str = ""
    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    infer_ms: float = 0.0
    decide_ms: float = 0.0
    total_ms: float = 0.0  # from the start of decoding to the decision, without waiting between the two
    override: Optional[Override] = None
    queue_reason: str = ""  # low_confidence, override or asked: the item goes to the review queue
    picture: Optional[bytes] = None  # kept beside the journal when the item is queued
    picture_suffix: str = ".jpg"
    error: str = ""
    stranger_score: Optional[float] = None  # higher is stranger; None: not looked for
    review_reason: str = ""  # low_confidence, stranger, always_review or cluster, when the decision is review
    line_mono_s: Optional[float] = None  # when its middle crossed the belt's line; None: nothing moved
    belt_speed_mps: Optional[float] = None
    views: int = 0  # that the answer was pooled from
    bin: Optional[int] = None  # None: no ejector is for it
    ejection: str = ""  # scheduled, until the ejector tells more; empty: no ejector is for it


def of_item(sequence: int, item: Item, classifier: Classifier, answer: Answer, call: Call,
            decide_ms: float) -> Record:
    """The record of a classified item."""
    frame = item.frame
    total_ms = frame.decode_ms + answer.preprocess_ms + answer.infer_ms + decide_ms
    return Record(sequence, frame.source, frame.key, frame.captured_mono_s, frame.captured_wall_s, call.decision,
                  call.class_name, call.confidence, call.probabilities, call.threshold, classifier.bundle.version,
                  classifier.backend, classifier.precision, frame.decode_ms, answer.preprocess_ms, answer.infer_ms,
                  decide_ms, total_ms, stranger_score=call.stranger_score, review_reason=call.reason,
                  line_mono_s=item.line_mono_s, belt_speed_mps=item.speed_mps, views=len(item.views))


def of_error(sequence: int, item: Item, error: str) -> Record:
    """The record of an item that could not be classified."""
    frame = item.frame
    return Record(sequence, frame.source, frame.key, frame.captured_mono_s, frame.captured_wall_s, ERROR,
                  decode_ms=frame.decode_ms, total_ms=frame.decode_ms, error=error, line_mono_s=item.line_mono_s,
                  belt_speed_mps=item.speed_mps, views=len(item.views))
