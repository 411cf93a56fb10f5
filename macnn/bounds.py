"""Upper limits of settings, and of values in files: beyond any use, within any memory."""

IMAGE_SIZES = (16, 2048)  # side in pixels; one such image takes some 300 MB in `tiny`
CROPPED = 2**22  # pixels that all streams of the part CNN see of a photograph together
PARTS = 16
CLASSES = 100_000
HIDDEN = 16_384  # width of the channel-grouping layers
POWER = 1_000.0  # exponent of the squashing
SCALE = 1e30  # of features and responses
COUNT = 2**31 - 1  # steps, images and whatever else is counted
SEED = 2**63 - 1
NAME = 200  # characters
PATH = 4096  # characters
