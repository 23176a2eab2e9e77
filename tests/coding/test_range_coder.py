"""The binary coder: what goes in comes out, close to the ideal length, whatever the stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepsic.coding import binarisation, context_kernels, range_coder
from deepsic.coding.hidden_signs import hiding

FLAT = np.full(binarisation.COUNT, 32768, np.uint16)


def code(
    values: NDArray[np.float32], classes: NDArray[np.int64], hides: bool = False
) -> tuple[bytes, NDArray[np.int16]]:
    """Encode (H, W, K) latents with mean 0 and given classes: stream and symbols."""
    height, width, count = values.shape
    means, flat = np.zeros((height * width, count), np.int16), classes.reshape(-1, count)
    state, out = range_coder.encoder_state(), np.zeros(8 * values.size + 64, np.uint8)
    symbols = np.zeros((height + 1, width + 2, count), np.int16)
    buffers = (np.zeros(values.shape, np.float32), np.zeros(values.shape, np.uint8))
    channels, hidden = np.arange(count, dtype=np.int32), hiding(FLAT, hides)
    context_kernels.quantise_pass(
        0, values, channels, means, flat.astype(np.uint8), np.zeros(64, np.float32), symbols,
        *buffers, 16, hidden, 0, height,
    )  # fmt: skip
    context_kernels.encode_pass(
        state, out, binarisation.fresh_states(FLAT), 0, channels, flat.astype(np.uint8), symbols,
        hidden, 0, height,
    )  # fmt: skip
    assert np.array_equal(buffers[0], symbols[1:, 1:-1])
    return out[: range_coder.finish(state, out)].tobytes(), symbols[1:, 1:-1]


def decode(stream: bytes, classes: NDArray[np.int64], hides: bool = False) -> NDArray[np.int16]:
    height, width, count = classes.shape
    means, flat = np.zeros((height * width, count), np.int16), classes.reshape(-1, count)
    data = np.frombuffer(stream, np.uint8)
    symbols = np.zeros((height + 1, width + 2, count), np.int16)
    y_hat = np.zeros((height, width, count), np.float32)
    context_kernels.decode_pass(
        range_coder.decoder_state(data), data, binarisation.fresh_states(FLAT), 0,
        np.arange(count, dtype=np.int32), means, flat.astype(np.uint8), symbols,
        y_hat, np.zeros(y_hat.shape, np.uint8), 16, hiding(FLAT, hides), 0, height,
    )  # fmt: skip
    assert np.array_equal(y_hat, symbols[1:, 1:-1])
    return symbols[1:, 1:-1]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9)),
    st.floats(0.01, 3000.0),
)
def test_symbols_come_back(seed: int, shape: tuple[int, int, int], scale: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.laplace(0, scale, shape).astype(np.float32)
    classes = rng.integers(0, 64, shape)
    stream, symbols = code(values, classes)
    assert np.array_equal(decode(stream, classes), symbols)
    coded = classes > binarisation.SKIP
    nearest = np.trunc(values + np.copysign(0.5, values))
    nearest = nearest.clip(-context_kernels.SYMBOL_LIMIT, context_kernels.SYMBOL_LIMIT)
    assert np.array_equal(symbols[coded], nearest[coded])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9)),
    st.floats(0.01, 3000.0),
)
def test_hidden_signs_come_back(seed: int, shape: tuple[int, int, int], scale: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.laplace(0, scale, shape).clip(-30000, 30000).astype(np.float32)
    classes = rng.integers(0, 64, shape)
    stream, symbols = code(values, classes, hides=True)
    assert np.array_equal(decode(stream, classes, hides=True), symbols)
    coded = classes > binarisation.SKIP
    assert np.abs(symbols - values)[coded].max(initial=0) <= 1.5


def test_hidden_signs_save_a_bit_a_group_and_cost_little() -> None:
    values = np.random.default_rng(0).laplace(0, 0.5, (64, 64, 8)).astype(np.float32)
    classes = np.full(values.shape, 30)
    (plain, before), (hidden, after) = (code(values, classes, hides=h) for h in (False, True))
    groups = values.size / 8  # flat contexts: every second symbol isn't expected to be 0
    assert 8 * (len(plain) - len(hidden)) > 0.9 * groups
    changed = before != after
    assert 0.04 < changed.mean() < 0.07, "half of the groups of eight change one symbol"
    assert np.abs(before - after)[changed].max() == 1
    assert np.square(values - after).mean() < 1.2 * np.square(values - before).mean()


def test_runs_of_carries_are_coded() -> None:
    """Symbols that keep the range at its top for long: every carry must reach back."""
    for pattern in ([1, -1], [0, 0, 0, 1], [-1] * 7 + [3]):
        values = np.resize(np.array(pattern, np.float32), (20, 50, 8))
        classes = np.full(values.shape, 20)
        stream, symbols = code(values, classes)
        assert np.array_equal(decode(stream, classes), symbols)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_decode_to_some_symbols(stream: bytes, hides: bool) -> None:
    classes = np.full((5, 5, 7), 40)
    symbols = decode(stream, classes, hides)
    assert np.abs(symbols.astype(int)).max(initial=0) <= context_kernels.SYMBOL_LIMIT


@pytest.mark.parametrize(("share", "above"), [(0.02, 0.07), (0.2, 0.03), (0.5, 0.03)])
def test_length_is_close_to_the_entropy(share: float, above: float) -> None:
    """From flat probabilities: learning them is part of the length."""
    rng = np.random.default_rng(1)
    values = (rng.random((100, 100, 10)) < share) * np.where(
        rng.random((100, 100, 10)) < 0.5, 1, -1
    )
    stream, _ = code(values.astype(np.float32), np.full(values.shape, 20))
    ideal = -(share * np.log2(share / 2) + (1 - share) * np.log2(1 - share)) * values.size
    assert 8 * len(stream) < (1 + above) * ideal


def test_trailing_zeros_are_left_out() -> None:
    stream, _ = code(np.zeros((4, 4, 4), np.float32), np.full((4, 4, 4), 10))
    assert len(stream) <= 2
