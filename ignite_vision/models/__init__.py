"""Models: by name or function, with a head for our classes. The rest of the package asks here.

`families/` has a file for each family, `named` asks them; `head`, `weights`, `state`, `meta` and `model_file` are
imported by themselves.
"""

from ignite_vision.models.families.family import Family, InputSpec
from ignite_vision.models.named import (
    ModelField,
    architecture,
    build,
    build_architecture,
    input_of,
    names,
    read_weights,
    weights_content,
    weights_licence,
    weights_preprocessing,
)

__all__ = [
    "Family",
    "InputSpec",
    "ModelField",
    "architecture",
    "build",
    "build_architecture",
    "input_of",
    "names",
    "read_weights",
    "weights_content",
    "weights_licence",
    "weights_preprocessing",
]
