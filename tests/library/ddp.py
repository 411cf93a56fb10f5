"""The same loop in two processes, each with half of every batch."""

import sys

import torch
import torch.distributed as dist
from loop import images_and_labels, model, train
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import macnn

dist.init_process_group("gloo")
torch.manual_seed(dist.get_rank())  # DDP starts all processes from the weights of the first
dataset = TensorDataset(*images_and_labels())
batches = DataLoader(dataset, 8, sampler=DistributedSampler(dataset, seed=0))
classifier = model()
with torch.no_grad():
    for tensor in classifier.state_dict().values():
        dist.broadcast(tensor, 0)
macnn.find_parts(classifier, batches)
train(DistributedDataParallel(classifier), batches, classifier)
weights = torch.cat([p.detach().flatten() for p in classifier.parameters()])
everywhere = [torch.empty_like(weights) for _ in range(2)]
dist.all_gather(everywhere, weights)
assert torch.equal(*everywhere)
accuracy = macnn.evaluate(classifier, batches).classification
if dist.get_rank() == 0:
    torch.save((accuracy.images, accuracy.joint.top1), sys.argv[1])
dist.destroy_process_group()
