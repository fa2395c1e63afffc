"""What the database files a result under: hashes and labels, computed once, when the result is written."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

from prunebench.records import Choice, Provenance, Result, Value, encode, short_hash

CHANGING = ("load_average", "dense_hash")  # parts of the provenance that differ from trial to trial


@dataclass(frozen=True)
class ChoiceKeys:
    """Hash, name, label, and the parameters of a choice as one flat dictionary."""

    hash: str
    name: str
    label: str
    setting: str
    parameters: dict[str, Value]


@dataclass(frozen=True)
class Keys:
    """Hashes and labels of everything that many results share."""

    run_id: str
    trial_id: str
    dense_id: str
    network_id: str
    protocol_id: str
    environment_id: str
    provenance_id: str
    dataset: ChoiceKeys
    model: ChoiceKeys
    method: ChoiceKeys
    is_dense: bool


def result_keys(result: Result, run_id: str) -> Keys:
    """What `result` of the run is filed under."""
    trial = result.trial
    return Keys(
        run_id=run_id,
        trial_id=trial.id,
        dense_id=trial.dense_id,
        network_id=trial.network_id,
        protocol_id=trial.protocol.id,
        environment_id=result.provenance.environment_id,
        provenance_id=provenance_id(result.provenance),
        dataset=choice_keys(trial.dataset),
        model=choice_keys(trial.model),
        method=choice_keys(trial.method),
        is_dense=trial.id == trial.dense_id,
    )


def provenance_id(provenance: Provenance) -> str:
    """Content hash of all that stays the same from trial to trial."""
    facts = {f.name: getattr(provenance, f.name) for f in dataclasses.fields(provenance) if f.name not in CHANGING}
    return short_hash(encode(facts))


def choice_keys(choice: Choice) -> ChoiceKeys:
    """What `choice` is filed under; of a pipeline, the stages' names in a row."""
    name = " > ".join(stage.use for stage in choice.stages) if choice.stages else choice.use
    inside = choice.label if choice.stages else choice.label[len(choice.use) :].removeprefix("(").removesuffix(")")
    return ChoiceKeys(short_hash(choice.text), name, choice.label, inside, parameters(choice))


def parameters(choice: Choice) -> dict[str, Value]:
    """A choice's own parameters; of a pipeline, those that only one of its stages has."""
    if not choice.stages:
        return choice.params
    of_stages = [parameters(stage) for stage in choice.stages]
    uses = Counter(name for params in of_stages for name in params)
    return {name: value for params in of_stages for name, value in params.items() if uses[name] == 1}
