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

    backward = TrainStep.backward

    def poisoning(self, loss, micro_batch):
        wrong = distributed.rank() == rank and self.step == step
        backward(self, loss * (torch.nan if wrong else 1.0), micro_batch)

    TrainStep.backward = poisoning
    command(environment, *arguments)


def counted(environment, folder, images, result):
    """Count the first images of a data set in every way; the first process saves what it got."""
    os.environ.update(environment)
    from dataclasses import replace

    from macnn import distributed
    from macnn.data.layouts.cub import read_cub
    from macnn.data.loaders import ImageDataset, Loader
    from macnn.data.transforms import geometry
    from macnn.evaluation.predict import keypoint_tensors, predict
    from macnn.evaluation.published import look
    from macnn.evaluation.specialisation import measure_specialisation
    from macnn.model import MACNN, create_backbone
    from macnn.training.discovery import ChannelStatistics

    torch.manual_seed(0)
    torch.set_num_threads(1)
    with distributed.process_group(60):
        model = MACNN(create_backbone("tiny"), 2, 16, image_size=32)
        read = read_cub(folder)
        chosen = replace(read, samples=read.samples[:images])
        rank, world_size = distributed.rank(), distributed.world_size()
        dataset = ImageDataset(chosen, geometry(32, "squash"), seed=0)
        loader = Loader(dataset, 8, rank=rank, world_size=world_size)
        found, maps = predict(model, loader.epoch(), margin=0.02)
        statistics = ChannelStatistics.begin(model)
        with torch.no_grad():
            for batch in loader.epoch():
                statistics.update(model.backbone(batch.images), batch.samples, batch.total)
        seen = look(model, loader.epoch(), keypoint_tensors(chosen)[0])
        covered = measure_specialisation(model, loader.epoch())
        state = statistics.state_dict()
        if distributed.rank() == 0:
            torch.save(
                {
                    "samples": found.samples,
                    "labels": found.labels,
                    "logits": found.scores.classifier_logits,
                    "images": maps.images,
                    "counted": state["images"],
                    "gram": state["gram"],
                    "centres": seen.centres,
                    "present": seen.present,
                    "covered": covered.images,
                    "lost": torch.tensor(covered.lost),
                },
                result,
            )
