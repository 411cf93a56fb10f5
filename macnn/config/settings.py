"""Every setting of macnn, section by section; each section has a file beside this one.

The command line builds its options from these files, so a setting is described once.
"""

from typing import Any

from pydantic import PrivateAttr

from macnn.config.data import DataSettings
from macnn.config.model import ModelSettings
from macnn.config.run import RunSettings
from macnn.config.section import Section
from macnn.config.training import PartCNNSettings, PretrainSettings, TrainSettings


class Settings(Section):
    """All settings, section by section as in a configuration file."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    pretrain: PretrainSettings = PretrainSettings()
    train: TrainSettings = TrainSettings()
    part_cnn: PartCNNSettings = PartCNNSettings()
    run: RunSettings = RunSettings()
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def sources(self) -> dict[str, str]:
        """Where each value came from, by dotted path; empty unless `resolve` made the settings."""
        return self._sources

    def __eq__(self, other: object) -> bool:
        """Equal values are equal settings, wherever they came from."""
        return isinstance(other, Settings) and self.__dict__ == other.__dict__


def paths() -> dict[str, Any]:
    """Every setting by its dotted path, such as `data.image_size`, to its pydantic field."""
    found = {}
    for section, outer in Settings.model_fields.items():
        fields = outer.annotation.model_fields  # type: ignore[union-attr]
        found.update({f"{section}.{name}": field for name, field in fields.items()})
    return found
