"""Arrays and tensors in, 8-bit planes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import UnsupportedImageError, UsageError
from deepsic.image_io.pixels import Depth, scaled
from deepsic.limits import Limits

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["from_array", "is_tensor", "tensor_array"]

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8] | None, bool, bool]


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a torch tensor; torch isn't imported to find out."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def tensor_array(tensor: Tensor) -> NDArray[Any]:
    """A tensor (C, H, W) or (H, W) as an array with its channels last.

    Raises:
        UsageError: it has no values here, or is sparse.
    """
    try:
        tensor = tensor.detach().cpu()
        array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (TypeError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"can't read this tensor: {error}") from None
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    return array


def from_array(array: NDArray[Any], limits: Limits, white: int | None) -> Planes:
    """RGB (H, W, 3), alpha or None, whether it was gray, whether it had 16 bits.

    `white` is the value of white in uint16 colours, 65535 where it is None and they reach that far.

    Raises:
        UnsupportedImageError: of another shape or type, or values out of range.
        LimitError: larger than `limits` allow.
    """
    array = np.asarray(array)  # not a matrix, which has two axes for ever
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UnsupportedImageError(
            f"array of shape {array.shape}; one image is (height, width) or (height, width, 1, 3 "
            "or 4), as a tensor (1, 3 or 4, height, width)"
        )
    limits.check_size(array.shape[1], array.shape[0])
    sixteen = array.dtype == np.uint16
    if sixteen:
        alpha = (array[..., 3:] >> 8).astype(np.uint8)
        depth = Depth(sixteen=True, white=white or 0xFFFF, known=white is not None)
        colours = scaled(array[..., :3], depth, "array")
        array = np.concatenate((colours, alpha), 2)
    elif np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # not a number fails this, too
            raise UnsupportedImageError(
                f"array of {array.dtype} from {array.min():g} to {array.max():g}; floating point "
                "images are 0 to 1"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise UnsupportedImageError(
            f"array of {array.dtype}; give uint8 (0 to 255), uint16 (0 to 65535) or floating "
            "point (0 to 1)"
        )
    gray = array.shape[2] == 1
    planes = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    rgb = np.repeat(array, 3, axis=2) if gray else array[..., :3]
    return np.ascontiguousarray(rgb), planes, gray, sixteen
