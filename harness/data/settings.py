"""What decides, with the name of a dataset, which arrays a trial learns from."""

from dataclasses import dataclass, fields

from harness.spec.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Fields of Trial that say how its data are read; trials that share them and the dataset share its arrays."""

    task: str = "classification"
    context: int = 64
    target_column: str = ""
    standardize: bool = False


DEFAULT = DataSettings()
DatasetKey = tuple[str, DataSettings]  # the name of a dataset, and how it is read


def dataset_key(trial: Trial) -> DatasetKey:
    """What a trial's dataset is known by."""
    settings = {field.name: getattr(trial, field.name) for field in fields(DataSettings)}
    return trial.dataset, DataSettings(**settings)
