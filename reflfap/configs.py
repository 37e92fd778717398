"""All configs: by the name of their experiment, and back from JSON."""

import json
from typing import TypeAlias

from reflfap.config import ArtificialConfig, CellConfig, CertificatesConfig, ImagesConfig
from reflfap.config_classify import ClassifyConfig
from reflfap.config_perturbation import LearnConfig, PerturbConfig
from reflfap.errors import refuse

Config: TypeAlias = CellConfig | CertificatesConfig | ClassifyConfig | PerturbConfig
SweptConfig: TypeAlias = CellConfig | LearnConfig
"""The cells of sweeps."""

_CONFIGS: dict[str, type[Config]] = {
    "artificial": ArtificialConfig,
    "images": ImagesConfig,
    "certificates": CertificatesConfig,
    "classify": ClassifyConfig,
    "perturb": PerturbConfig,
    "learn": LearnConfig,
}


def from_json(config_json: str) -> Config:
    """The config that `canonical_json` wrote; InputError for anything else."""
    try:
        content = json.loads(config_json)
        config = _CONFIGS[content.pop("experiment")](**content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse("config_json", "the JSON of a run's config", config_json[:200], f"({error})")
    return config
