"""Limits of lists and annotations; a data set beyond them is damaged, or an attack."""

IMAGES = 3_000_000  # of a data set
ROWS = 1_000_000  # of a list in a published layout
LINE = 20_000  # characters of a line, or of a row of a CSV file
NAME = 500  # characters of the name of a class or landmark
CLASSES = 100_000
LANDMARKS = 1_000  # of an image
POINTS = 30_000_000  # landmarks of all images together
COORDINATE = 1e6  # pixels
