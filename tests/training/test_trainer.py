from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sdsr.errors import InputError, ModelError
from sdsr.losses.terms import StepRecord
from sdsr.methods.recipe import OptimizerSettings, Stage
from sdsr.objectives.training_step import Outcome, Sample
from sdsr.training.run import RunSettings, checkpoints
from sdsr.training.trainer import train

PLAIN = OptimizerSettings(learning_rate=0.01, warmup_steps=1, decay_from=1.0, clip_norm=1e9)


class Toy(nn.Module):
    """Fits the mean color of its photos; `log` holds what it was called with."""

    def __init__(self, discriminator: nn.Module | None = None) -> None:
        super().__init__()
        self.color = nn.Linear(3, 3)
        with torch.no_grad():
            self.color.weight.copy_(torch.eye(3) / 2)
            self.color.bias.zero_()
        self.beside = [discriminator]
        self.log: list[tuple] = []

    @property
    def discriminator(self) -> nn.Module | None:
        return self.beside[0]

    @property
    def trainable_modules(self) -> dict[str, nn.Module]:
        return {"color": self.color}

    def forward(self, sample: Sample, rng: torch.Generator, progress: float) -> Outcome:
        mean = sample.hq.mean((2, 3))
        self.log.append((round(float(mean.sum()), 5), int(torch.randint(10**6, (), generator=rng)), progress))
        guess = self.color(mean)
        record = (
            StepRecord(clean=guess[..., None, None], hq=mean[..., None, None])
            if self.discriminator is not None
            else None
        )
        return Outcome(loss=(guess - mean).square().mean(), record=record)

    def pictures(self, sample: Sample, rng: torch.Generator) -> dict[str, Tensor]:
        return {"photo": sample.hq}

    def measure(self, sample: Sample, rng: torch.Generator) -> dict[str, float]:
        return {"weight": float(self.color.weight.detach().sum())}

    def prepare(self, samples: list[Sample]) -> None:
        self.log.append(("prepared", len(samples)))

    def finish(self, samples: list[Sample]) -> None:
        self.log.append(("finished", len(samples)))

    @property
    def steps(self) -> list[tuple]:
        """The calls of its forward pass."""
        return [entry for entry in self.log if len(entry) == 3]


class ToyDiscriminator(nn.Module):
    """A discriminator of mean colors."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(3, 1)

    def forward(self, record: StepRecord, rng: torch.Generator) -> Outcome:
        assert not record.clean.requires_grad
        fake, real = (self.score(side.flatten(1)) for side in (record.clean, record.hq))
        return Outcome(loss=(fake - real).mean(), scalars={"gap": 1.0})


class ToyObjective:
    """Builds the toy, whatever the model."""

    def training_step(self, model: Any, discriminator: nn.Module | None) -> Toy:
        return Toy(discriminator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A method that builds nothing, since the toy brings its own weight."""

    def build(self, prior: Any, device: Any = None) -> None:
        return None


@pytest.fixture
def stage() -> Stage:
    return Stage(
        name="toy",
        method=Nothing(),
        objective=ToyObjective(),
        optimizer=PLAIN,
        steps=8,
        batch=2,
        crop_px=8,
        ema_decay=0.6,
    )


def colors(batch: int) -> Callable[[int], Sample]:
    """Sample g of a run has a color that follows from g."""

    def source(step: int) -> Sample:
        numbers = range(step * batch, (step + 1) * batch)
        rows = [torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(g)) for g in numbers]
        return Sample(hq=torch.stack(rows).expand(-1, -1, 8, 8).clone())

    return source


def run(folder, toy: Toy, stage: Stage, steps: int, **settings: Any):
    return train(toy, stage, colors(stage.batch), [], RunSettings(folder=folder, steps=steps, **settings), metadata={})


def test_the_first_step_is_that_of_adamw(tmp_path, stage):
    toy, twin = Toy(), Toy()
    run(tmp_path, toy, stage, 1)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    twin(colors(2)(0), torch.Generator(), 0.0).loss.backward()
    optimizer.step()
    for mine, theirs in zip(toy.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_large_gradients_are_clipped(tmp_path, stage):
    """Adam's first step hides the size of a gradient; an epsilon of the gradient's size would not, so look at it."""
    toy, norms = Toy(), []
    clip = torch.nn.utils.clip_grad_norm_

    def noted(parameters, *args, **kwargs):
        parameters = list(parameters)
        norm = clip(parameters, *args, **kwargs)
        norms.append(float(torch.stack([p.grad.norm() for p in parameters]).norm()))
        return norm

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", noted)
        run(tmp_path, toy, replace(stage, optimizer=replace(PLAIN, clip_norm=1e-3)), 3)
    assert len(norms) == 3
    assert max(norms) < 1.01e-3


def test_saved_parts_are_the_averages_of_the_trained_ones(tmp_path, stage):
    """Averaged over three steps with the weights that diffusers' warm-up gives, and by hand here."""
    toy, history = Toy(), []
    source = colors(2)

    def noting(step: int) -> Sample:
        return source(step)

    forward = toy.forward

    def remember(*args):
        history.append(toy.color.weight.detach().clone())
        return forward(*args)

    toy.forward = remember  # type: ignore[method-assign]
    train(toy, stage, noting, [], RunSettings(folder=tmp_path, steps=4), metadata={})
    history.append(toy.color.weight.detach().clone())
    average = history[1]  # the first step replaces the average
    for step, weight in enumerate(history[2:], start=1):
        decay = min(0.6, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    saved = load_file(tmp_path / "parts" / "color.safetensors")["weight"]
    torch.testing.assert_close(saved, average)
    assert not torch.allclose(saved, history[-1])


def test_two_batches_of_two_are_one_of_four(tmp_path, stage):
    """The same photos, since samples are numbered through. The noise differs: it is drawn per batch, not per photo."""
    halves, whole = Toy(), Toy()
    run(tmp_path / "halves", halves, replace(stage, accumulate=2), 3)
    run(tmp_path / "whole", whole, replace(stage, batch=4), 3)
    assert len(halves.steps) == 2 * len(whole.steps) == 6
    sums = [first[0] + second[0] for first, second in zip(halves.steps[::2], halves.steps[1::2], strict=True)]
    assert sums == pytest.approx([entry[0] for entry in whole.steps], abs=1e-4)
    for mine, theirs in zip(halves.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_where_memory_runs_out_a_batch_goes_on_in_pieces(tmp_path, stage, accumulate, caplog):
    """It comes to what the whole batch would have come to."""

    class Bounded(Toy):
        def forward(self, sample: Sample, rng: torch.Generator, progress: float) -> Outcome:
            if len(sample.hq) > 2:
                torch.empty(1 << 50, dtype=torch.uint8)  # more than any machine has, so that torch really says no
            return super().forward(sample, rng, progress)

    stage = replace(stage, batch=5, accumulate=accumulate)
    bounded, whole = Bounded(ToyDiscriminator()), Toy(ToyDiscriminator())
    run(tmp_path / "whole", whole, stage, 3)
    with caplog.at_level("WARNING"):
        run(tmp_path / "bounded", bounded, stage, 3)
    assert caplog.text.count("memory ran out") == 2
    assert "batches of 5 go on in 4 pieces" in caplog.text
    assert len(bounded.steps) == 4 * 3 * accumulate + 1, "and one piece of two, before the next was too large"
    for mine, theirs in zip(bounded.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def test_where_one_photo_is_too_much_the_run_ends(tmp_path, stage):
    class Never(Toy):
        def forward(self, sample: Sample, rng: torch.Generator, progress: float) -> Outcome:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        run(tmp_path, Never(), stage, 3)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_both_sides_step_once_per_step_however_many_batches_it_has(tmp_path, stage, accumulate):
    counts = {"main": 0, "discriminator": 0}
    toy = Toy(ToyDiscriminator())
    discriminator = toy.discriminator
    assert discriminator is not None
    of_discriminator = next(discriminator.parameters())
    step = torch.optim.AdamW.step

    def counted(self, *args, **kwargs):
        side = "discriminator" if any(p is of_discriminator for p in self.param_groups[0]["params"]) else "main"
        counts[side] += 1
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", counted)
        run(tmp_path, toy, replace(stage, accumulate=accumulate), 3)
    assert counts == {"main": 3, "discriminator": 3}


def test_the_discriminator_learns_with_settings_of_its_own(tmp_path, stage):
    toy = Toy(ToyDiscriminator())
    assert toy.discriminator is not None
    before = [parameter.clone() for parameter in toy.discriminator.parameters()]
    still = replace(PLAIN, learning_rate=0.0)
    run(tmp_path / "still", toy, replace(stage, discriminator_optimizer=still), 2)
    assert all(torch.equal(a, b) for a, b in zip(before, toy.discriminator.parameters(), strict=True))
    run(tmp_path / "learning", toy, stage, 2)
    assert not torch.equal(before[0], next(toy.discriminator.parameters()))


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(tmp_path, stage, scalars):
    through, first, second = Toy(ToyDiscriminator()), Toy(ToyDiscriminator()), Toy(ToyDiscriminator())
    for discriminator in (first.discriminator, second.discriminator):
        assert discriminator is not None
        assert through.discriminator is not None
        discriminator.load_state_dict(through.discriminator.state_dict())
    run(tmp_path / "through", through, stage, 12)
    run(tmp_path / "parts", first, stage, 6)
    run(tmp_path / "parts", second, stage, 12)
    assert [entry[:2] for entry in first.steps + second.steps] == [entry[:2] for entry in through.steps]
    assert scalars(tmp_path / "parts") == pytest.approx(scalars(tmp_path / "through"), rel=1e-5)
    for mine, theirs in zip(second.parameters(), through.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    saved = [load_file(tmp_path / name / "parts" / "color.safetensors") for name in ("parts", "through")]
    for key in saved[0]:
        torch.testing.assert_close(saved[0][key], saved[1][key])


def test_a_training_step_prepares_itself_once_and_finishes_when_saved(tmp_path, stage):
    first, resumed, refined = Toy(), Toy(), Toy()
    run(tmp_path / "run", first, stage, 2)
    assert first.log[0] == ("prepared", 8)
    assert first.log[-1] == ("finished", 8)
    run(tmp_path / "run", resumed, stage, 3)
    assert [entry[0] for entry in resumed.log[1:]] == ["finished"]
    settings = RunSettings(folder=tmp_path / "refined", steps=1)
    train(refined, stage, colors(2), [], settings, metadata={}, fresh=False)
    assert "prepared" not in [entry[0] for entry in refined.log]


def test_a_run_that_is_done_stays_as_it_is(tmp_path, stage):
    run(tmp_path, Toy(), stage, 3)
    before = load_file(tmp_path / "parts" / "color.safetensors")
    again = Toy()
    run(tmp_path, again, stage, 3)
    assert again.steps == []
    after = load_file(tmp_path / "parts" / "color.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_processes_that_know_nothing_of_each_other_are_refused(tmp_path, stage, monkeypatch):
    run(tmp_path / "alone", Toy(), stage, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"processes \(=2 by WORLD_SIZE\) don't know of each other"):
        run(tmp_path / "two", Toy(), stage, 1)


def test_shards_need_several_processes_and_a_run_keeps_to_them(tmp_path, stage):
    with pytest.raises(InputError, match=r"--shard needs several processes \(=1\)"):
        run(tmp_path / "alone", Toy(), stage, 3, shard=True)
    run(tmp_path / "run", Toy(), stage, 2)
    (checkpoints(tmp_path / "run")[-1] / "sharded.pt").touch()
    with pytest.raises(InputError, match=r"was begun with --shard; give it, or name another --run"):
        run(tmp_path / "run", Toy(), stage, 3)


def test_frozen_parameters_of_parts_stay_out_of_the_optimizer_and_in_the_file(tmp_path, stage):
    toy = Toy()
    toy.color.bias.requires_grad_(False)
    run(tmp_path, toy, stage, 2)
    assert toy.color.bias.tolist() == [0, 0, 0]
    assert toy.color.bias.grad is None
    saved = load_file(tmp_path / "parts" / "color.safetensors")
    assert saved["bias"].tolist() == [0, 0, 0]
    assert not torch.equal(saved["weight"], torch.eye(3) / 2)


def test_another_seed_draws_other_noise(tmp_path, stage):
    logs = []
    for seed in (0, 1, 0):
        toy = Toy()
        run(tmp_path / str(len(logs)), toy, stage, 3, seed=seed)
        logs.append([entry[1] for entry in toy.steps])
    assert logs[0] == logs[2]
    assert not set(logs[0]) & set(logs[1])
    assert len(set(logs[0])) == 3


def test_minutes_bound_a_run_and_drive_its_progress(tmp_path, stage, monkeypatch):
    now = [0.0]

    def later() -> float:
        now[0] += 6.0
        return now[0]

    toy = Toy()
    monkeypatch.setattr("sdsr.training.trainer.time.monotonic", later)
    run(tmp_path, toy, stage, 100, minutes=0.5)
    progress = [entry[2] for entry in toy.steps]
    assert progress == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_checkpoints_follow_each_other_and_the_oldest_go(tmp_path, stage):
    run(tmp_path, Toy(), stage, 5, save_every_s=0.0)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000004", "step-00000005"]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_ends_the_run_and_what_is_saved_is_of_the_step_before(tmp_path, stage, value):
    broken = Sample(hq=torch.full((2, 3, 8, 8), float(value)))
    sound = colors(2)
    with pytest.raises(ModelError, match=r"is not finite; lower the learning rate"):
        train(
            Toy(),
            stage,
            lambda step: broken if step == 2 else sound(step),
            [],
            RunSettings(folder=tmp_path, steps=5, save_every_s=1e9),
            metadata={},
        )
    (saved,) = checkpoints(tmp_path)
    assert saved.name == "step-00000002"
    assert all(tensor.isfinite().all() for tensor in load_file(saved / "model.safetensors").values())
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("error", [InputError("no photo"), OSError("disk"), RuntimeError("out of memory")])
def test_a_run_that_ends_by_error_goes_on_where_it_was(tmp_path, stage, scalars, caplog, error):
    sound = colors(2)

    def failing(index: int) -> Sample:
        if index == 7:
            raise error
        return sound(index)

    stage = replace(stage, accumulate=2)
    with pytest.raises(type(error), match=str(error)):
        train(Toy(), stage, failing, [], RunSettings(folder=tmp_path / "a", steps=8), metadata={})
    assert [path.name for path in checkpoints(tmp_path / "a")] == ["step-00000003"]
    assert "saved at step 3, where the same command goes on" in caplog.text
    for folder in ("a", "b"):
        train(Toy(), stage, sound, [], RunSettings(folder=tmp_path / folder, steps=8), metadata={})
    assert scalars(tmp_path / "a") == pytest.approx(scalars(tmp_path / "b"), rel=1e-5)


def test_half_a_step_is_not_saved_nor_is_a_run_that_did_not_begin(tmp_path, stage):
    class Failing(ToyDiscriminator):
        def forward(self, record: StepRecord, rng: torch.Generator) -> Outcome:
            raise RuntimeError("the discriminator fails")

    with pytest.raises(RuntimeError, match="the discriminator fails"):
        run(tmp_path / "half", Toy(Failing()), stage, 8)
    with pytest.raises(InputError, match="gone"):
        train(Toy(), stage, gone_after(8), [], RunSettings(folder=tmp_path / "none", steps=1), metadata={})
    assert not checkpoints(tmp_path / "half")
    assert not checkpoints(tmp_path / "none")


def test_a_checkpoint_that_can_not_be_written_does_not_hide_the_error(tmp_path, stage, monkeypatch, caplog):
    monkeypatch.setattr("sdsr.training.state.RunState.save", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(InputError, match="gone"):
        train(Toy(), stage, gone_after(11), [], RunSettings(folder=tmp_path, steps=8), metadata={})
    assert "no checkpoint could be saved (disk full)" in caplog.text


def gone_after(count: int) -> Callable[[int], Sample]:
    """A source whose photos vanish after so many samples were taken."""
    sound, taken = colors(2), [0]

    def source(index: int) -> Sample:
        taken[0] += 1
        if taken[0] > count:
            raise InputError("gone")
        return sound(index)

    return source


def test_validation_scores_the_averages_and_puts_the_trained_weights_back(tmp_path, stage, scalars):
    toy = Toy()
    settings = RunSettings(folder=tmp_path, steps=4, validate_every=2)
    train(toy, stage, colors(2), [colors(2)(99)], settings, metadata={"recipe": "toy"})
    values = scalars(tmp_path)
    assert {step for step, name in values if name == "validation/weight"} == {2, 4}
    average = float(load_file(tmp_path / "parts" / "color.safetensors")["weight"].sum())
    assert values[4, "validation/weight"] == pytest.approx(average, abs=1e-4)
    assert float(toy.color.weight.detach().sum()) != pytest.approx(average, abs=1e-4)
    assert len(list((tmp_path / "sheets").iterdir())) == 2
