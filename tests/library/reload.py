"""Another process: does the model answer as the one that was saved, to the same bit?"""

import sys

import torch
from loop import images_and_labels, model

from macnn.model import Output

with torch.serialization.safe_globals([Output]):
    state_dict, before, accuracy = torch.load(sys.argv[1])
classifier = model()
classifier.load_state_dict(state_dict)
after = classifier.eval()(images_and_labels()[0])
assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
assert accuracy > 0.9
