"""Networks out of packages that were made for something else, read without importing these."""

from deepsic.tasks.packaged.backbones import load_deepsort_mobilenet, load_hed_vgg
from deepsic.tasks.packaged.dino import load_dinov2
from deepsic.tasks.packaged.inception import load_inception
from deepsic.tasks.packaged.onnx_nets import ONNX_NETS, load_onnx_net
from deepsic.tasks.packaged.tflite_nets import TFLITE_NETS, load_tflite_net

__all__ = [
    "ONNX_NETS",
    "TFLITE_NETS",
    "load_deepsort_mobilenet",
    "load_dinov2",
    "load_hed_vgg",
    "load_inception",
    "load_onnx_net",
    "load_tflite_net",
]
