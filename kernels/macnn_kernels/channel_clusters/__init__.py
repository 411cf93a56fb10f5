"""k-means of channels on the Gram matrix of their peak trajectories."""

from macnn_kernels.channel_clusters.op import ChannelClusters, cluster_channels

__all__ = ["ChannelClusters", "cluster_channels"]
