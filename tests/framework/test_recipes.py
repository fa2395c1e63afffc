"""Recipes: what they change has a known answer, and what contradicts itself is said when a grid is planned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from prunebench import TensorSplit
from prunebench.cli import bench
from prunebench.errors import GridError, NotApplicable
from prunebench.grid.grid import Grid
from prunebench.recipe import NAMED, Augmentation, Recipe
from prunebench.records import Protocol
from prunebench.trial.augmentation import Augmenter
from prunebench.trial.averaging import Average
from prunebench.trial.losses import Losses
from prunebench.trial.schedules import Stepper, optimizer_of, schedule_of
from prunebench.trial.training import Course, fit
from prunebench_objectives.regression import Regression
from torch import nn
from toys import CLASSIFICATION

BLOCK = '[[block]]\ndataset = "digits"\nmodel = "lenet5"\nmethod = "dense"\n'
SHARE = 0.75  # of the first class: images say nothing of it, so that it is what a network has to answer


@pytest.fixture(scope="module")
def noise() -> TensorSplit:
    images = torch.randn(768, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return TensorSplit(images, (torch.arange(768) % 4 == 3).long())


def answered(noise: TensorSplit, teacher: nn.Module | None = None, **keys: object) -> float:
    """The mean probability of the first class after training by these keys."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    recipe = Recipe(**{"epochs": 12, "batch_size": 96, "optimizer": "sgd", "lr": 0.3, "schedule": "cosine", **keys})
    generator, course = torch.Generator().manual_seed(0), Course(teacher=teacher)
    fit(net, noise, noise, recipe, objective=CLASSIFICATION, generator=generator, course=course)
    with torch.no_grad():
        return float(net(noise.images).softmax(1)[:, 0].mean())


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"precision": "bfloat16"},
        {"precision": "float16", "clip": 1.0},
        {"ema": 0.9},
        {"nesterov": True, "warmup": 2},
        {"augment": Augmentation(crop=1, flip=True, erase=0.5, resized_crop=0.5)},
        {"epochs": 4, "augment": Augmentation(rand_augment=1)},
        {"augment": Augmentation(mixup=1.0, cutmix=1.0)},
    ],
    ids=str,
)
def test_with_and_without_it_the_known_answer_is_learnt(noise, keys):
    assert answered(noise, **keys) == pytest.approx(SHARE, abs=0.03)


def test_smoothed_labels_and_a_teacher_move_the_answer_by_formula(noise):
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    nn.init.zeros_(teacher[1].weight)
    with torch.no_grad():
        teacher[1].bias.copy_(torch.tensor([0.2, 0.8]).log())
    assert answered(noise, label_smoothing=0.4) == pytest.approx(0.6 * SHARE + 0.4 / 2, abs=0.02)
    found = answered(noise, teacher, distill=0.5, temperature=1.0)
    assert found == pytest.approx(0.5 * SHARE + 0.5 * 0.2, abs=0.02)


def rates(length: int, epoch_steps: int, done: int = 0, **keys: object) -> list[float]:
    recipe, weight = Recipe(**{"lr": 1.0, "optimizer": "sgd", **keys}), nn.Parameter(torch.zeros(2, 2))
    optimizer = optimizer_of([weight], recipe)
    schedule = schedule_of(optimizer, recipe, length, epoch_steps, done)
    stepper, found = Stepper([weight], optimizer, schedule, recipe, "cpu"), []
    for _ in range(length - done):
        found.append(optimizer.param_groups[0]["lr"])
        stepper.take(weight.sum())
    return found


def test_learning_rates_follow_their_formulas():
    half = [1.0] * 6 + [0.5] * 6 + [0.25] * 6
    assert rates(18, 3, epochs=6, schedule="multi_step", milestones=(2, 4), gamma=0.5) == half
    assert rates(18, 3, epochs=6, schedule="step", step_epochs=2, gamma=0.5) == half
    assert rates(18, 3, done=6, epochs=6, schedule="step", step_epochs=2, gamma=0.5) == half[6:]
    cosine = [(1 + np.cos(np.pi * step / 10)) / 2 for step in range(10)]
    assert rates(10, 5, epochs=2, schedule="cosine") == pytest.approx(cosine)
    risen = rates(14, 4, steps=14, schedule="cosine", warmup=4)
    assert risen == pytest.approx([0.01 + 0.99 * step / 4 for step in range(4)] + cosine)
    stepped = rates(12, 3, epochs=4, schedule="step", step_epochs=2, gamma=0.5, warmup=1)
    assert stepped[3:] == pytest.approx([1.0] * 3 + [0.5] * 6)
    cycle = rates(100, 10, epochs=10, schedule="one_cycle")
    assert cycle[0] == pytest.approx(1 / 25) and max(cycle) == pytest.approx(1, abs=1e-3) and cycle[-1] < 1e-2
    assert 28 <= int(np.argmax(cycle)) <= 30


def test_clipping_bounds_the_step_and_norms_and_biases_may_not_decay():
    weight, bias = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3))
    recipe = Recipe(epochs=1, optimizer="sgd", lr=1.0, momentum=0.0, clip=0.5)
    optimizer = optimizer_of([weight, bias], recipe)
    Stepper([weight, bias], optimizer, schedule_of(optimizer, recipe, 1, 1), recipe, "cpu").take(7 * weight.sum())
    assert float((1 - weight.detach()).norm()) == pytest.approx(0.5)
    groups = optimizer_of([weight, bias], Recipe(weight_decay=0.1, decay="weights")).param_groups
    assert [(group["params"][0] is weight, group["weight_decay"]) for group in groups] == [(True, 0.1), (False, 0.0)]


def test_the_moving_average_is_that_of_its_recursion():
    net = nn.BatchNorm1d(1)
    average, wanted, count = Average.of(net, 0.5), 0.0, 0
    for value in (3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0, 8.0):
        nn.init.constant_(net.weight, value)
        net.running_mean.fill_(value)
        net.num_batches_tracked += 1
        average.take_in(net)
        kept = min(0.5, count / (10 + count))
        wanted, count = kept * wanted + (1 - kept) * value, count + 1
    found = average.network
    assert float(found.weight.detach()) == pytest.approx(wanted, rel=1e-6)
    assert float(found.running_mean) == pytest.approx(wanted, rel=1e-6) and int(found.num_batches_tracked) == count


def augmented(x: torch.Tensor, seed: int = 0, **wish: object) -> tuple[torch.Tensor, object]:
    split = TensorSplit(x, torch.zeros(len(x), dtype=torch.int64))
    augment = Augmenter.of(Augmentation(**wish), split, torch.Generator().manual_seed(seed))
    return augment(x)


def test_crops_are_all_windows_alike_and_flips_every_other_image():
    picture = torch.arange(1.0, 17).reshape(1, 1, 4, 4)
    many = picture.expand(4000, 1, 4, 4)
    windows = nn.functional.pad(picture, (1, 1, 1, 1)).unfold(2, 4, 1).unfold(3, 4, 1).reshape(9, 4, 4)
    cropped = augmented(many, crop=1)[0]
    assert {tuple(x.flatten().tolist()) for x in cropped} == {tuple(x.flatten().tolist()) for x in windows}
    assert torch.allclose(cropped.mean(0)[0], windows.mean(0), atol=0.4)
    flipped = augmented(many, flip=True)[0]
    is_flipped = (flipped == picture.flip(-1)).all((1, 2, 3))
    assert bool((is_flipped | (flipped == picture).all((1, 2, 3))).all())
    assert float(is_flipped.double().mean()) == pytest.approx(0.5, abs=0.03)


def test_mixed_images_hold_as_much_of_each_as_their_loss():
    x = torch.eye(6)[:, None, :, None].expand(6, 1, 6, 6) + 1.0
    for wish in ({"mixup": 1.0}, {"cutmix": 1.0}):
        for seed in range(5):
            mix = augmented(x, seed, **wish)[1]
            plain = torch.stack([torch.full_like(x[i], float(i)) for i in range(6)])
            seen, again = augmented(plain, seed, **wish)
            assert again.share == mix.share and torch.equal(again.order, mix.order)
            wanted = mix.share * torch.arange(6.0) + (1 - mix.share) * mix.order.float()
            assert torch.allclose(seen.mean((1, 2, 3)), wanted, atol=1e-5)
    outputs, targets = torch.randn(6, 3), torch.arange(6) % 3
    loss = Losses(CLASSIFICATION, Recipe())(outputs, x, targets, mix)
    both = [nn.functional.cross_entropy(outputs, t) for t in (targets, targets[mix.order])]
    assert torch.allclose(loss, mix.share * both[0] + (1 - mix.share) * both[1])


def test_erased_rectangles_are_zero_and_pixels_stay_in_their_range():
    x = torch.rand(64, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 + 1
    erased = augmented(x, erase=0.5)[0]
    changed = (erased != x).any(1)
    assert bool((erased[changed[:, None].expand_as(x)] == 0).all()) and 20 <= int(changed.any((1, 2)).sum()) <= 44
    seen = augmented(x, rand_augment=2)[0]
    assert seen.shape == x.shape and float(seen.min()) >= 1 - 1e-4 and float(seen.max()) <= 3 + 1e-4
    assert int((seen != x).any(1).any(1).any(1).sum()) > 40
    assert torch.equal(augmented(x, 3, rand_augment=2)[0], augmented(x, 3, rand_augment=2)[0])
    assert float((augmented(x, resized_crop=0.99999)[0] - x).abs().mean()) < 0.25


def test_what_a_recipe_cannot_do_for_the_data_is_declined():
    rows = TensorSplit(torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64))
    with pytest.raises(NotApplicable, match=r"augmentation is for images \(B, C, H, W\), the inputs are float32"):
        Augmenter.of(Augmentation(flip=True), rows, torch.Generator())
    with pytest.raises(NotApplicable, match="label_smoothing is for classification, the data set is for regression"):
        Losses(Regression(), Recipe(label_smoothing=0.1))
    with pytest.raises(NotApplicable, match="distill is for fine-tuning"):
        Losses(CLASSIFICATION, Recipe(distill=0.5))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('recipe = "cifar200"', "train.recipe: no recipe 'cifar200', did you mean 'cifar-200'?"),
        (
            'recipe = "cifar-200", epochs = 100',
            "train.milestones: 160 is not before the end of the training, after 100",
        ),
        ("nesterov = true", 'train.nesterov needs optimizer = "sgd" with a momentum, got adam'),
        ('schedule = "multi_step"', 'train: schedule = "multi_step" needs milestones'),
        (
            'schedule = "multi_step", milestones = [5, 3]',
            "train.milestones must be ascending, the first at least 1, got [5, 3]",
        ),
        ("milestones = [5]", 'train.milestones belongs to schedule = "multi_step", got schedule = "constant"'),
        (
            'schedule = "step", step_epochs = 10',
            "train.step_epochs: 10 is not before the end of the training, after 10",
        ),
        ("warmup = 12", "train.warmup: 12 is not before the end of the training, after 10 epochs"),
        ('schedule = "one_cycle", warmup = 1', "has a warmup of its own: leave this one out"),
        ("gamma = 0.5", 'train.gamma belongs to schedule = "step" or "multi_step", got "constant"'),
        ('decay = "weights"', "train.decay chooses what weight_decay applies to, which is 0"),
        ("label_smoothing = 1.0", "train.label_smoothing must be in [0, 1), got 1.0"),
        ("clip = -1.0", "train.clip must be at least 0, got -1.0"),
        ('precision = "float8"', "train.precision: invalid enum value 'float8', expected float32, bfloat16 or float16"),
        ("distill = 0.5", "train.distill: the dense network has no teacher"),
        ("augment = { crops = 4 }", "train.augment: unknown key 'crops', did you mean 'crop'?"),
        ("augment = { magnitude = 4 }", "train.augment.magnitude applies to rand_augment, which is 0"),
        ("augment = { mixup = -1 }", "train.augment.mixup must be at least 0, got -1.0"),
        ("augment = 4", "train.augment must be a table such as { crop = 4, flip = true }, got 4"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_one_line(keys, message):
    with pytest.raises(GridError) as error:
        Grid.parse(f"[protocol]\ntrain = {{ {keys} }}\n{BLOCK}")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_every_named_recipe_is_sound_and_its_own_keys_stand_above_it():
    for name in NAMED:
        recipe = Grid.parse(f'[protocol]\ntrain = {{ recipe = "{name}", lr = 0.05 }}\n{BLOCK}').protocol.train
        assert recipe.lr == 0.05 and recipe.optimizer == "sgd" and recipe.augment.flip
    same = Recipe(**{**NAMED["cifar-160"], "milestones": (80, 120), "augment": Augmentation(crop=4, flip=True)})
    assert Grid.parse(f'[protocol]\ntrain = {{ recipe = "cifar-160" }}\n{BLOCK}').protocol.train == same
    assert len({Protocol(train=same).id, Protocol(train=Recipe(epochs=160)).id, Protocol().id}) == 3


def test_a_plan_shows_a_named_recipe_in_full(tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(f'[protocol]\ntrain = {{ recipe = "imagenet-90", epochs = 80 }}\n{BLOCK}')
    told = CliRunner().invoke(bench, ["plan", "--grid", str(grid), "--db", str(tmp_path / "new.duckdb")])
    line = next(line for line in told.output.splitlines() if line.startswith("train, recipe imagenet-90: "))
    for part in (
        "epochs = 80",
        "step_epochs = 30",
        'optimizer = "sgd"',
        "augment = { flip = true, resized_crop = 0.08 }",
    ):
        assert part in line
