"""Why an item goes to review, as people and machines read it."""

import pytest

from edge.report import answer_fields, item_lines

CLASSES = ("glass", "metal", "paper", "plastic")


@pytest.mark.parametrize("word, changes, mark", [
    ("accepted", {"stranger_score": -7.0}, ""),
    ("unsure", {"decision": "review", "review_reason": "low_confidence"}, "  LOW CONFIDENCE (below 0.70) -> review"),
    ("a stranger", {"decision": "review", "review_reason": "stranger", "stranger_score": -2.34567},
     "  STRANGER (score -2.346) -> review"),
    ("a stranger of a class never accepted", {"decision": "review", "review_reason": "stranger", "threshold": None,
                                              "stranger_score": 12.0}, "  STRANGER (score 12.000) -> review"),
    ("a class never accepted", {"decision": "review", "review_reason": "always_review", "threshold": None},
     "  ALWAYS REVIEW (this class is never accepted) -> review"),
])
def test_the_text_says_why(make_record, word, changes, mark):
    head = item_lines(make_record(1, **changes), CLASSES, False)[0]
    assert head.split(" ms", 1)[1] == mark


def test_machines_get_score_and_reason(make_record):
    stranger = make_record(1, decision="review", review_reason="stranger", stranger_score=-2.3456789)
    fields = answer_fields(stranger, CLASSES)
    assert (fields["stranger_score"], fields["review_reason"]) == (-2.345679, "stranger")
    assert (fields["low_confidence_flag"], fields["decision"]) == (True, "review")
    fields = answer_fields(make_record(2), CLASSES)
    assert (fields["stranger_score"], fields["review_reason"], fields["low_confidence_flag"]) == (None, None, False)
