"""Peak of every channel, and the Gram matrix of peak trajectories."""

from macnn_kernels.channel_peaks.op import Peaks, channel_peaks, peak_gram

__all__ = ["Peaks", "channel_peaks", "peak_gram"]
