"""The engine that a model needs, and what it loads before the first packet."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mtc.capture import PacketBatch
from mtc.datasets.flow_features.features import FEATURES
from mtc.inference import Classifier
from mtc.serving.engine import WatchEngine
from mtc.serving.events import Event, EventMaker
from mtc.serving.watch_settings import WatchSettings

if TYPE_CHECKING:
    from mtc.serving.feature_engine import FeatureEngine


def engine_for(
    classifier: Classifier,
    maker: EventMaker,
    emit: Callable[[Event], None],
    settings: WatchSettings | None = None,
    *,
    reject: bool = True,
) -> "WatchEngine | FeatureEngine":
    """The engine that a model needs; arguments as for ``WatchEngine``."""
    if not classifier.reads_features:
        return WatchEngine(classifier, maker, emit, settings, reject=reject)
    from mtc.serving.feature_engine import FeatureEngine  # its libraries are of no use to other models

    return FeatureEngine(classifier, maker, emit, settings, reject=reject)


def warm_up(classifier: Classifier) -> None:
    """Load what the first packet would wait for: compiled kernels, and the model's first call."""
    frame = np.frombuffer(_FRAME, np.uint8)
    one = np.ones(1, np.int64)
    batch = PacketBatch(
        data=frame,
        offsets=one - 1,
        caplens=one * len(frame),
        wirelens=one * len(frame),
        timestamps=one,
        link_types=np.full(1, 101, np.int32),
        first_packet=1,
    )
    maker = EventMaker({"name": "", "version": ""}, "")
    engine = engine_for(classifier, maker, lambda event: None)
    engine.take(batch)
    engine.finish(0, "stopped")
    if classifier.reads_features:  # a flow of one packet may have no verdict
        classifier.predict(np.zeros((1, len(FEATURES))))


_FRAME = bytes.fromhex("45000021000000004011000000000000000000000400040000000d0000") + b"hello"
"""A UDP packet over IPv4 with five bytes of payload."""
