"""What the tests have run in processes of their own, to be stopped, killed and led astray."""

import multiprocessing
import os
import sys

import torch


def command(environment, *arguments):
    """Run the command line in a process group of its own."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # loader processes: as outside of tests
    os.environ.update(environment)
    from macnn_cli import main

    sys.argv = ["macnn", *map(str, arguments)]
    main.run()


def poisoned(environment, rank, step, *arguments):
    """Run the command line; in one process the loss of one step is not a number."""
    from macnn import distributed
    from macnn.training.train_step import TrainStep

    take = TrainStep.step

    def taking(self, number, optimiser, module, batch, loss_of):
        wrong = distributed.rank() == rank and number == step
        factor = torch.nan if wrong else 1.0
        take(self, number, optimiser, module, batch, lambda piece: loss_of(piece) * factor)

    TrainStep.step = taking
    command(environment, *arguments)


def counted(environment, folder, images, result):
    """Evaluate and survey the first images of a data set; the first process saves what it got."""
    os.environ.update(environment)
    from dataclasses import replace

    from macnn import distributed, events
    from macnn.data.layouts.cub import read_cub
    from macnn.data.loaders import ImageDataset, Loader
    from macnn.data.transforms import geometry
    from macnn.evaluation.evaluate import predict
    from macnn.model import Network, NetworkSpec
    from macnn.model.backbones import BackboneSpec, build_backbone
    from macnn.training.discovery import ChannelStatistics, collect_statistics

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with distributed.process_group(60):
        network = Network(
            NetworkSpec("tiny", None, 32, 2, 16), build_backbone(BackboneSpec("tiny"), None)
        )
        read = read_cub(folder)
        chosen = replace(read, samples=read.samples[:images])
        loader = Loader(ImageDataset(chosen, geometry(32, "squash"), seed=0), 8)
        found = predict(network, loader, margin=0.02, task="", listen=events.silent)
        survey = ChannelStatistics.begin(network)
        collect_statistics(network, loader, survey, lambda: None, events.silent)
        tensors, facts = survey.state()
        if distributed.rank() == 0:
            torch.save(
                {
                    "samples": found.samples,
                    "labels": found.labels,
                    "logits": found.logits,
                    "images": found.attention_metrics.images,
                    "surveyed": facts["images"],
                    "gram": tensors["gram"],
                },
                result,
            )
