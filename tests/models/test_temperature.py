"""Temperatures: their definition, and what they leave as it is."""

import numpy as np
import pytest
from scipy.special import softmax

from mtc.models import Temperature
from mtc.models.temperature import entropy

NONE = np.empty(0, np.int64)
LOGITS = np.random.default_rng(0).normal(0, 3, (50, 5))


def test_without_a_rise_logits_are_divided_by_the_base():
    found = np.exp(Temperature(2.0).log_probabilities(LOGITS, NONE))
    np.testing.assert_allclose(found, softmax(LOGITS / 2, axis=1))


def test_entropy_is_of_the_probabilities_in_nats():
    np.testing.assert_allclose(entropy(np.zeros((1, 8))), np.log(8))
    np.testing.assert_allclose(entropy(np.array([[0.0, -np.inf, 0.0]])), np.log(2))
    np.testing.assert_allclose(entropy(np.array([[0.0, -np.inf]])), 0, atol=1e-12)


@pytest.mark.parametrize("rise", [-0.5, 0.3])
def test_a_rise_changes_what_is_unsure_and_no_label(rise):
    plain = np.exp(Temperature(1.5).log_probabilities(LOGITS, NONE))
    found = np.exp(Temperature(1.5, rise).log_probabilities(LOGITS, NONE))
    by_hand = 1.5 * np.exp(rise * entropy(LOGITS))
    np.testing.assert_allclose(found, softmax(LOGITS / by_hand[:, None], axis=1))
    assert (found.argmax(1) == plain.argmax(1)).all()
    assert ((found.max(1) < plain.max(1)) == (rise > 0)).all()


def test_absent_classes_have_probability_zero_and_no_part_in_the_entropy():
    absent = np.array([1, 3])
    found = np.exp(Temperature(0.8, 0.4).log_probabilities(LOGITS, absent))
    assert not found[:, absent].any()
    kept = Temperature(0.8, 0.4).log_probabilities(np.delete(LOGITS, absent, axis=1), NONE)
    np.testing.assert_allclose(np.delete(found, absent, axis=1), np.exp(kept))


@pytest.mark.parametrize(
    "value",
    [{"base": 0, "rise": 0}, {"base": 1, "rise": float("nan")}, {"base": float("inf"), "rise": 0}],
    ids=str,
)
def test_what_is_no_temperature_is_refused(value):
    with pytest.raises(ValueError, match="no temperature"):
        Temperature.from_json(value)
