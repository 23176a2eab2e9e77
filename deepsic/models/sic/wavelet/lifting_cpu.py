"""The linear path of whole pictures on a CPU: the same transform as `wavelet`, in numba.

Three levels take the picture to 192 packed channels at 1/8, channels last, ready for the nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.coding import scratch
from deepsic.models.sic.wavelet import filters
from deepsic.threads import strips

_A, _B, _C, _D = (np.float32(v) for v in filters.LIFTING)
_S = np.float32(filters.SCALE)
_I = np.float32(1.0 / filters.SCALE)
ROTATION = np.array(filters.ROTATION, np.float32)
"""Orthonormal colour rotation: `colours = ROTATION @ rgb`."""

F32 = NDArray[np.float32]
jit: Any = numba.njit(cache=True, nogil=True)
"""Without `fastmath`: two machines' results are equal."""


@jit
def _split_row(row: Any, out: Any) -> None:
    """Lift along a row: row (2 n,) to out (2 n,), n low and n high coefficients."""
    n = row.size // 2
    a, b = out[:n], out[n:]
    for i in range(n):
        a[i] = row[2 * i]
        b[i] = row[2 * i + 1]
    for i in range(n - 1):
        b[i] += _A * (a[i] + a[i + 1])
    b[n - 1] += _A * (a[n - 1] + a[n - 1])
    a[0] += _B * (b[0] + b[0])
    for i in range(1, n):
        a[i] += _B * (b[i] + b[i - 1])
    for i in range(n - 1):
        b[i] += _C * (a[i] + a[i + 1])
    b[n - 1] += _C * (a[n - 1] + a[n - 1])
    a[0] += _D * (b[0] + b[0])
    for i in range(1, n):
        a[i] += _D * (b[i] + b[i - 1])
    for i in range(n):
        a[i] *= _S
        b[i] *= _I


@jit
def _merge_row(coefficients: Any, row: Any) -> None:
    """Inverse of `_split_row`; the coefficients are overwritten."""
    n = row.size // 2
    a, b = coefficients[:n], coefficients[n:]
    for i in range(n):
        a[i] *= _I
        b[i] *= _S
    a[0] -= _D * (b[0] + b[0])
    for i in range(1, n):
        a[i] -= _D * (b[i] + b[i - 1])
    for i in range(n - 1):
        b[i] -= _C * (a[i] + a[i + 1])
    b[n - 1] -= _C * (a[n - 1] + a[n - 1])
    a[0] -= _B * (b[0] + b[0])
    for i in range(1, n):
        a[i] -= _B * (b[i] + b[i - 1])
    for i in range(n - 1):
        b[i] -= _A * (a[i] + a[i + 1])
    b[n - 1] -= _A * (a[n - 1] + a[n - 1])
    for i in range(n):
        row[2 * i] = a[i]
        row[2 * i + 1] = b[i]


@jit
def _lift(target: Any, first: Any, second: Any, weight: Any) -> None:
    """target += weight (first + second), all (W,)."""
    for x in range(target.size):
        target[x] += weight * (first[x] + second[x])


@jit
def _pack_row(band: Any, scale: Any, out: Any, start: int, factor: int) -> None:
    """A row of a band (W,), scaled, to channels `start` .. of out (W / factor, C)."""
    if factor == 4:
        for x in range(out.shape[0]):
            out[x, start] = scale * band[4 * x]
            out[x, start + 1] = scale * band[4 * x + 1]
            out[x, start + 2] = scale * band[4 * x + 2]
            out[x, start + 3] = scale * band[4 * x + 3]
    elif factor == 2:
        for x in range(out.shape[0]):
            out[x, start] = scale * band[2 * x]
            out[x, start + 1] = scale * band[2 * x + 1]
    else:
        for x in range(out.shape[0]):
            out[x, start] = scale * band[x]


@jit
def _unpack_row(packed: Any, start: int, factor: int, scale: Any, band: Any) -> None:
    """Inverse of `_pack_row`."""
    if factor == 4:
        for x in range(packed.shape[0]):
            band[4 * x] = scale * packed[x, start]
            band[4 * x + 1] = scale * packed[x, start + 1]
            band[4 * x + 2] = scale * packed[x, start + 2]
            band[4 * x + 3] = scale * packed[x, start + 3]
    elif factor == 2:
        for x in range(packed.shape[0]):
            band[2 * x] = scale * packed[x, start]
            band[2 * x + 1] = scale * packed[x, start + 1]
    else:
        for x in range(packed.shape[0]):
            band[x] = scale * packed[x, start]


@jit
def _store_rows(
    even: Any, odd: Any, y: int, factor: int, start: int, out: Any, lowest: Any
) -> None:
    """Row y of the four bands to the packed channels of three, and to `lowest`."""
    w, size = lowest.shape[1], factor * factor
    line, at = out[y // factor], start + (y % factor) * factor
    _pack_row(odd[:w], _I, line, at, factor)
    _pack_row(even[w:], _S, line, at + size, factor)
    _pack_row(odd[w:], _I, line, at + 2 * size, factor)
    for x in range(w):
        lowest[y, x] = _S * even[x]


@jit
def _forward_level(
    x: Any, factor: int, start: int, out: Any, lowest: Any, top: int, bottom: int
) -> None:
    """Rows of one level of x (2 n, 2 w): three bands into `out`, the fourth (n, w) to `lowest`.

    Rows are lifted as they come and only the last four pairs are kept, so that all of it happens in
    the first cache. Two pairs before the first row come in as well: it is made of them.
    """
    n, width = lowest.shape[0], x.shape[1]
    even, odd = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    early = max(top - 2, 0)
    _split_row(x[2 * early], even[early & 3])
    for k in range(early, min(bottom + 1, n)):
        _split_row(x[2 * k + 1], odd[k & 3])
        after = min(k + 1, n - 1)
        if after > k:
            _split_row(x[2 * after], even[after & 3])
        before = max(k - 1, 0)
        _lift(odd[k & 3], even[k & 3], even[after & 3], _A)
        _lift(even[k & 3], odd[k & 3], odd[before & 3], _B)
        if k > 0:
            _lift(odd[before & 3], even[before & 3], even[k & 3], _C)
            _lift(even[before & 3], odd[before & 3], odd[max(k - 2, 0) & 3], _D)
            if before >= top:
                _store_rows(even[before & 3], odd[before & 3], before, factor, start, out, lowest)
    if bottom < n:
        return
    last, before = n - 1, max(n - 2, 0)
    _lift(odd[last & 3], even[last & 3], even[last & 3], _C)
    _lift(even[last & 3], odd[last & 3], odd[before & 3], _D)
    _store_rows(even[last & 3], odd[last & 3], last, factor, start, out, lowest)


@jit
def _load_rows(
    packed: Any, lowest: Any, y: int, factor: int, start: int, even: Any, odd: Any
) -> None:
    """Inverse of `_store_rows`."""
    w, size = lowest.shape[1], factor * factor
    line, at = packed[y // factor], start + (y % factor) * factor
    _unpack_row(line, at, factor, _S, odd[:w])
    _unpack_row(line, at + size, factor, _I, even[w:])
    _unpack_row(line, at + 2 * size, factor, _S, odd[w:])
    for x in range(w):
        even[x] = _I * lowest[y, x]


@jit
def _inverse_level(
    packed: Any, lowest: Any, factor: int, start: int, x: Any, top: int, bottom: int
) -> None:
    """Inverse of `_forward_level`."""
    n, width = lowest.shape[0], x.shape[1]
    even, odd = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    for k in range(max(top - 2, 0), bottom + 2):
        if k < n:
            _load_rows(packed, lowest, k, factor, start, even[k & 3], odd[k & 3])
            _lift(even[k & 3], odd[k & 3], odd[max(k - 1, 0) & 3], -_D)
        if 1 <= k <= n:
            one = k - 1
            _lift(odd[one & 3], even[one & 3], even[min(k, n - 1) & 3], -_C)
            _lift(even[one & 3], odd[one & 3], odd[max(k - 2, 0) & 3], -_B)
        if k >= top + 2:
            two = k - 2
            _lift(odd[two & 3], even[two & 3], even[min(k - 1, n - 1) & 3], -_A)
            _merge_row(even[two & 3], x[2 * two])
            _merge_row(odd[two & 3], x[2 * two + 1])


@jit
def _copy(source: Any, target: Any) -> None:
    """Element by element: a slice assignment would take numba seven more seconds to compile."""
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            target[y, x] = source[y, x]


_STARTS = ((48, 96, 144), (12, 24, 36), (3, 6, 9))
"""First channel of levels 1, 2, 3 for each colour: level 1 of chroma follows that of luma."""


@jit
def _rotate(rgb: Any, matrix: Any, out: Any, top: int, bottom: int) -> None:
    """Rows of pixels (H, W, 3) to rotated colours (3, H, W), centred on mid-gray."""
    width = rgb.shape[1]
    rows = np.empty((3, width), np.float32)
    for y in range(top, bottom):
        line = rgb[y]
        for x in range(width):
            rows[0, x] = line[x, 0]
            rows[1, x] = line[x, 1]
            rows[2, x] = line[x, 2]
        red, green, blue = rows[0], rows[1], rows[2]
        for c in range(3):
            r, g, b = matrix[c, 0], matrix[c, 1], matrix[c, 2]
            offset = np.float32(128.0) * (r + g + b)
            target = out[c, y]
            for x in range(width):
                target[x] = r * red[x] + g * green[x] + b * blue[x] - offset


@jit
def _to_rgb(planes: Any, matrix: Any, gain: Any, out: Any, top: int, bottom: int) -> None:
    width = out.shape[1]
    rows = np.empty((3, width), np.uint8)
    low, high, middle = np.float32(0.0), np.float32(255.0), np.float32(128.5)
    for y in range(top, bottom):
        for c in range(3):
            a, b, d, row = matrix[0, c], matrix[1, c], matrix[2, c], rows[c]
            first, second, third = planes[0, y], planes[1, y], planes[2, y]
            for x in range(width):
                value = (a * first[x] + b * second[x] + d * third[x]) * gain + middle
                row[x] = np.uint8(np.int32(min(max(value, low), high)))
        for x in range(width):
            out[y, x, 0] = rows[0, x]
            out[y, x, 1] = rows[1, x]
            out[y, x, 2] = rows[2, x]


_REACH = 3
"""Samples on either side that make one between them."""


def _centred(plane: F32, shift: int) -> F32:
    """A lowest band (H, W), moved from the corners of its pixels to their centres.

    Its samples lie on every (2^shift)th of the whole picture, from the first on. A smaller
    picture's pixel is the middle of as many: (1 - 2^-shift) / 2 further right and down.
    """
    places = np.arange(-_REACH + 1, _REACH + 1) - (1 - 0.5**shift) / 2
    taps = np.sinc(places) * np.sinc(places / _REACH)  # Lanczos
    taps = (taps / taps.sum()).astype(np.float32)
    rows, columns = plane.shape
    padded = np.pad(plane, (_REACH - 1, _REACH), "edge")
    down = np.zeros((rows, padded.shape[1]), np.float32)
    for k, tap in enumerate(taps):
        down += tap * padded[k : k + rows]
    out = np.zeros_like(plane)
    for k, tap in enumerate(taps):
        out += tap * down[:, k : k + columns]
    return out


def forward8(rgb: NDArray[np.uint8]) -> F32:
    """Picture (H, W, 3), sides multiples of 8, to coefficients (H/8, W/8, 192)."""
    planes = scratch.empty((3, *rgb.shape[:2]), np.float32)
    strips(lambda top, bottom: _rotate(rgb, ROTATION, planes, top, bottom), len(rgb))
    return forward_planes(planes)


def forward_planes(planes: F32) -> F32:
    """Rotated colours (3, H, W), sides multiples of 8, to coefficients (H/8, W/8, 192)."""
    out = scratch.empty((planes.shape[1] // 8, planes.shape[2] // 8, 192), np.float32)
    for level, starts in enumerate(_STARTS):
        planes = _forward(planes, 4 >> level, starts, out)
    for colour in range(3):
        _copy(planes[colour], out[:, :, colour])
    return out


def _forward(planes: F32, factor: int, starts: Sequence[int], out: F32) -> F32:
    """A level of planes (3, 2 n, 2 w): bands to `out`; returns the lowest, (3, n, w)."""
    lowest = scratch.empty((3, planes.shape[1] // 2, planes.shape[2] // 2), np.float32)

    def run(top: int, bottom: int) -> None:
        for x, start, low in zip(planes, starts, lowest, strict=True):
            _forward_level(x, factor, start, out, low, top, bottom)

    strips(run, lowest.shape[1])
    return lowest


def _inverse(lowest: F32, factor: int, starts: Sequence[int], packed: F32) -> F32:
    """Inverse of `_forward`."""
    planes = scratch.empty((3, 2 * lowest.shape[1], 2 * lowest.shape[2]), np.float32)

    def run(top: int, bottom: int) -> None:
        for x, start, low in zip(planes, starts, lowest, strict=True):
            _inverse_level(packed, low, factor, start, x, top, bottom)

    strips(run, lowest.shape[1])
    return planes


def _inverse_planes(packed: F32, shift: int) -> F32:
    """Coefficients (H/8, W/8, 192) to rotated colours (3, H >> shift, W >> shift)."""
    planes = _planes(packed)
    for level in range(2, shift - 1, -1):
        planes = _inverse(planes, 4 >> level, _STARTS[level], packed)
    return planes


def _planes(packed: F32) -> F32:
    """The first three channels, (3, H, W)."""
    planes = np.empty((3, *packed.shape[:2]), np.float32)
    for colour in range(3):
        _copy(packed[:, :, colour], planes[colour])
    return planes


def inverse_planes(packed: F32, shift: int) -> F32:
    """Coefficients (H/8, W/8, 192) to rotated colours (H >> shift, W >> shift, 3), not centred."""
    return _inverse_planes(packed, shift).transpose(1, 2, 0)


def inverse8(packed: F32, shift: int = 0) -> NDArray[np.uint8]:
    """Coefficients (H/8, W/8, 192) to the picture (H, W, 3), rounded and clamped.

    `shift` leaves out so many of the finest levels, up to 3: both sides are halved so often. A
    smaller picture's pixels are centred in those that they stand for.
    """
    planes = _inverse_planes(packed, shift)
    if shift:
        planes = np.stack([_centred(plane, shift) for plane in planes])
    out = np.empty((*planes.shape[1:], 3), np.uint8)
    gain = np.float32(0.5**shift)  # each level doubles the lowest band
    strips(lambda top, bottom: _to_rgb(planes, ROTATION, gain, out, top, bottom), len(out))
    return out


_LEVEL4 = (3, 6, 9)
"""First channel of each colour's bands at level 4."""


def forward16(ll: F32) -> F32:
    """The fourth level: the lowest band (H/8, W/8, 3) to coefficients (H/16, W/16, 12)."""
    out = np.empty((ll.shape[0] // 2, ll.shape[1] // 2, 12), np.float32)
    lowest = _forward(_planes(ll), 1, _LEVEL4, out)
    for colour in range(3):
        _copy(lowest[colour], out[:, :, colour])
    return out


def inverse16(y16: F32) -> F32:
    """Inverse of `forward16`."""
    return np.ascontiguousarray(_inverse(_planes(y16), 1, _LEVEL4, y16).transpose(1, 2, 0))
