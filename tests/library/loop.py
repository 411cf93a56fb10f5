"""MA-CNN in a bare loop, on a backbone, data and optimisers of one's own."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import macnn


def model():
    backbone = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1),
        nn.ReLU(),
    )
    return macnn.MACNN(backbone, parts=2, classes=2, image_size=32)


def images_and_labels(count=64):
    """Noise, and for class 1 a bright square."""
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.rand(count, 3, 32, 32, generator=draw), torch.arange(count) % 2
    images[labels == 1, :, 4:12, 4:12] += 1
    return images, labels


def train(model, batches, classifier, epochs=16):
    grouping_loss = macnn.GroupingLoss(margin=0.02, diversity=2.0)
    grouping = torch.optim.Adam(classifier.grouping.parameters(), 1e-4)
    rest = [*classifier.backbone.parameters(), *classifier.classifiers.parameters()]
    features = torch.optim.AdamW(rest, 1e-3)
    for epoch in range(epochs):
        for images, labels in batches:
            out = model(images)
            loss = macnn.part_classification_loss(out.classifier_logits, labels)
            loss = loss + grouping_loss(out.attention)
            model.zero_grad()
            loss.backward()
            (grouping if epoch % 2 else features).step()


if __name__ == "__main__":
    torch.manual_seed(0)
    images, labels = images_and_labels()
    batches = DataLoader(TensorDataset(images, labels), 16, shuffle=True)
    classifier = model()
    macnn.find_parts(classifier, batches)
    train(classifier, batches, classifier)
    accuracy = macnn.evaluate(classifier, batches).classification.joint.top1
    torch.save((classifier.state_dict(), classifier.eval()(images), accuracy), sys.argv[1])
    assert "macnn_cli" not in sys.modules
