"""One contract for every backend: open, classify, close. See base.Classifier."""

from edge.classifier.base import Answer, Classifier
from edge.classifier.choose import open_classifier

__all__ = ["Answer", "Classifier", "open_classifier"]
