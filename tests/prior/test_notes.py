"""What is kept of tensors is bounded, made again where it must be, and never mixed with gradients."""

import copy

import torch

from sdsr.prior.notes import LatestMade, Made


def test_only_the_latest_are_kept() -> None:
    made: list[int] = []

    def maker(number: int) -> Made:
        return Made(lambda: (made.append(number), torch.full((2,), float(number)))[1])

    latest = LatestMade(2)
    boxes = [maker(number) for number in range(3)]
    with torch.no_grad():
        for box in (*boxes, *boxes):
            assert float(latest.value(box)[0]) == boxes.index(box)
        assert made == [0, 1, 2, 0, 1, 2]
        latest.value(boxes[2])
        assert len(made) == 6
        assert [box.kept is not None for box in boxes] == [False, True, True]
        assert copy.deepcopy(latest).count == 2


def test_what_was_made_without_gradients_is_not_taken_with_them() -> None:
    weight = torch.ones(1, requires_grad=True)
    latest, box = LatestMade(1), Made(lambda: weight * 2)
    with torch.inference_mode():
        latest.value(box)
    latest.value(box).sum().backward()
    assert weight.grad == 2
