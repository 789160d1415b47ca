"""Models: by name or function, with a head for our classes. The rest of the package asks here.

`families/` has a file for each family; `named`, `pretrained` and `origin` ask them; `head`, `weights`, `state`, `meta`
and `model_file` are imported by themselves.
"""

from ignite_vision.models.families import names
from ignite_vision.models.families.family import Family, InputSpec
from ignite_vision.models.named import (
    architecture,
    build,
    build_architecture,
    input_of,
    weights_preprocessing,
)
from ignite_vision.models.origin import Origin, notes_of, origin_of
from ignite_vision.models.pretrained import (
    ModelField,
    is_composed,
    read_weights,
    weights_content,
    with_absolute_paths,
)

__all__ = [
    "Family",
    "InputSpec",
    "ModelField",
    "Origin",
    "architecture",
    "build",
    "build_architecture",
    "input_of",
    "is_composed",
    "names",
    "notes_of",
    "origin_of",
    "read_weights",
    "weights_content",
    "weights_preprocessing",
    "with_absolute_paths",
]
