"""The models of a job's process, loaded once; the first one before it was forked.

No thread may be started here: a fork would not take it along.
"""

from functools import lru_cache

from mtc.inference import Classifier


@lru_cache(maxsize=4)
def classifier(name_or_path: str) -> Classifier:
    """A model, ready for use."""
    return Classifier.load(name_or_path)
