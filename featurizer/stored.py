"""A featurizer in the archive that it made: stored once, rebuilt from there and nothing else.

So that an archive can be searched on another machine, without a network, and after the bundled
weights have changed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from featurizer import storage
from featurizer.errors import ContractError, WeightsError
from featurizer.projection import Projection
from featurizer.spec import FeaturizerSpec, require_same

if TYPE_CHECKING:
    from featurizer.backbones import Backbone
    from featurizer.embed import DeviceChoice, Featurizer

FOLDER, SPEC_FILE, PROJECTION_FILE = "featurizers", "spec.json", "projection.safetensors"


def save_featurizer(root: str, featurizer: Featurizer) -> None:
    """Stores what rebuilds the featurizer under ``root``, the spec last; does nothing twice."""
    spec = featurizer.spec
    folder = _folder(root, spec.fingerprint)
    if storage.exists(storage.join(folder, SPEC_FILE)):
        return
    weights = storage.join(folder, _weights_file(spec))
    storage.write_bytes(weights, featurizer.backbone.weights_bytes)
    if featurizer.projection is not None:
        file = storage.join(folder, PROJECTION_FILE)
        storage.write_bytes(file, featurizer.projection.to_bytes())
    text = json.dumps(spec.to_json(), indent=1, sort_keys=True)
    storage.write_bytes(storage.join(folder, SPEC_FILE), text.encode())


def read_spec(root: str, fingerprint: str) -> FeaturizerSpec:
    """The stored spec; ContractError when it is unreadable or of another featurizer."""
    place = storage.join(_folder(root, fingerprint), SPEC_FILE)
    try:
        record = json.loads(storage.read_bytes(place))
    except ValueError as error:
        raise ContractError(f"{place}: not JSON ({error}); run embed again") from error
    spec = FeaturizerSpec.from_json(record, place)
    if spec.fingerprint != fingerprint:
        raise ContractError(f"{place}: is of featurizer {spec.fingerprint}; run embed again")
    return spec


def load_featurizer(root: str, fingerprint: str, device: DeviceChoice = "auto") -> Featurizer:
    """The featurizer stored under ``root``.  It needs no network and no file outside ``root``.

    ContractError when its files are not what it says, WeightsError when they are not readable.
    """
    from featurizer.embed import Featurizer, FeaturizerOptions

    folder = _folder(root, fingerprint)
    spec = read_spec(root, fingerprint)
    backbone = _rebuilt(folder, spec)
    projection = None
    if spec.projection_sha256 is not None:
        file = storage.join(folder, PROJECTION_FILE)
        projection = Projection.from_bytes(storage.read_bytes(file), file)
    options = FeaturizerOptions(resize=spec.resize, metric=spec.metric, projection=projection)
    featurizer = Featurizer(backbone, options, device)
    require_same(featurizer.spec, spec, folder)
    return featurizer


def _rebuilt(folder: str, spec: FeaturizerSpec) -> Backbone:
    from featurizer.backbones import BackboneRequest, build

    name = _weights_file(spec)
    with tempfile.TemporaryDirectory() as scratch:  # torch reads weights from local files only
        local = Path(scratch, name)
        local.write_bytes(storage.read_bytes(storage.join(folder, name)))
        request = BackboneRequest(spec.backbone, str(local), spec.layer, spec.input_px)
        try:
            return build(request)
        except WeightsError as error:
            stored = str(error).replace(str(local), storage.join(folder, name))
            raise WeightsError(f"{stored}; remove {folder} and run embed again") from error


def _folder(root: str, fingerprint: str) -> str:
    return storage.join(root, FOLDER, fingerprint)


def _weights_file(spec: FeaturizerSpec) -> str:
    return "model.pt2" if spec.backbone == "exported" else "weights.safetensors"
