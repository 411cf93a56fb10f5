import pytest
import torch

from macnn.training.meters import Meters


def meters():
    return Meters(0.02, torch.device("cpu"))


def test_means_are_over_images_not_over_batches():
    found = meters()
    found.add(3, loss=torch.tensor(1.0))
    found.add(1, loss=torch.tensor(5.0))
    assert found.means(everywhere=True) == {"loss": 2.0}


def test_meters_of_several_processes_go_on_in_one():
    maps = torch.rand(6, 2, 4, 4).flatten(2).softmax(2).unflatten(2, (4, 4))
    together, shares = meters(), [meters(), meters()]
    for rank, share in enumerate(shares):
        own = maps[3 * rank : 3 * rank + 3]
        for each in (together, share):
            each.add(3, own, loss=torch.tensor(float(rank)))
    saved = [share.state_dict() for share in shares]
    one = meters()
    one.load_state_dict({name: torch.cat([s[name] for s in saved]) for name in saved[0]})
    assert one.means(everywhere=True) == together.means(everywhere=True) == {"loss": 0.5}
    found, expected = one.maps(everywhere=True), together.maps(everywhere=True)
    assert found.values() == pytest.approx(expected.values())
