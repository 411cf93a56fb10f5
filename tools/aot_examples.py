"""The launches that `tools.aot` compiles: one per default configuration and dtype."""

import torch

from macnn_kernels.channel_clusters.kernels import cluster
from macnn_kernels.channel_grouping import kernels as grouping
from macnn_kernels.channel_peaks.kernels import channel_peaks, peak_gram
from macnn_kernels.grouping_loss import kernels as loss
from macnn_kernels.part_attention.backward import backward
from macnn_kernels.part_attention.forward import forward

FLOATS = torch.float32, torch.bfloat16, torch.float16


def _channel_peaks() -> None:
    for dtype in FLOATS:
        channel_peaks(torch.empty(2, 512, 1, 1, dtype=dtype))
        for side in (7, 28):
            features = torch.empty(2, 512, side, side, dtype=dtype)
            channel_peaks(features)
            channel_peaks(features.to(memory_format=torch.channels_last))
    coordinate = torch.empty(2, 512, dtype=torch.int32)
    peak_gram(coordinate, coordinate, torch.empty(512, 512, dtype=torch.int64))


def _channel_clusters() -> None:
    uniforms = torch.empty(64, 4, dtype=torch.float64)
    starts = torch.empty(64, 4, dtype=torch.int64)
    for C in (96, 256, 512, 1024, 2048):
        cluster(torch.empty(C, C, dtype=torch.int64), None, uniforms)
    cluster(torch.empty(512, 512, dtype=torch.int64), starts, uniforms)


def _channel_grouping() -> None:
    shapes = (64, 512), (4, 512, 512), (4, 512), (4, 512, 512), (4, 512)
    for dtype in FLOATS:
        pooled, w1, b1, w2, b2 = (torch.empty(shape, dtype=dtype) for shape in shapes)
        weights, hidden = grouping.forward(pooled, w1, b1, w2, b2)
        grouping.backward(weights, pooled, w1, w2, hidden, weights, True, True)


def _part_attention() -> None:
    fp32, bf16, fp16 = FLOATS
    nchw, nhwc = torch.contiguous_format, torch.channels_last
    for C, side, dtype, layout in (
        *((512, 28, dtype, nchw) for dtype in FLOATS),
        *((512, 28, dtype, nhwc) for dtype in (fp32, bf16)),
        *((2048, 14, dtype, nchw) for dtype in (bf16, fp16)),
        (2048, 14, bf16, nhwc),
        (512, 13, bf16, nchw),
        (96, 56, bf16, nchw),
    ):
        features = torch.empty(2, C, side, side, dtype=dtype, memory_format=layout)
        weights = torch.empty(2, 4, C)
        given = features, weights, torch.empty(2, 4)
        attention, parts, scores = forward(*given, 1.5, "sigmoid", 1.5)
        saved = *given, attention, parts, scores, 1.5, "sigmoid", 1.5
        backward(attention, parts, *saved, True, True)
        if (C, side, dtype) == (512, 28, bf16):
            # as in each half of the alternation
            backward(attention, None, *saved, False, True)
            backward(None, parts, *saved, True, False)
            forward(features, weights, None, 1.5, "sigmoid", 1.5)
            backward(attention, parts, features, weights, None, *saved[3:], True, True)


def _grouping_loss() -> None:
    fp32 = torch.float32
    for N, side, dtype in (*((4, 28, dtype) for dtype in FLOATS), (1, 13, fp32), (16, 56, fp32)):
        attention = torch.empty(2, N, side, side, dtype=dtype)
        distance, diversity, peak = loss.forward(attention, 0.02)
        loss.backward(distance, diversity, attention, peak, 0.02)


EXAMPLES = {
    "channel_peaks": _channel_peaks,
    "channel_clusters": _channel_clusters,
    "channel_grouping": _channel_grouping,
    "part_attention": _part_attention,
    "grouping_loss": _grouping_loss,
}
