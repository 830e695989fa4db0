"""The form of a network, everything needed to build it again, as one line of JSON beside its weights."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from crossray.models.backbone import TrunkConfig

Kind = TypeVar("Kind", bound="Form")


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a network is built from.

    Args:
        trunk: Convolution trunk.
    """

    KIND: ClassVar[str] = "network"
    trunk: TrunkConfig

    def to_json(self) -> str:
        """The form as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls: type[Kind], text: str) -> Kind:
        """The form written by `to_json`.

        Raises:
            ValueError: Not JSON, or fields missing, unknown or unfit.
        """
        try:
            given = json.loads(text)
            unknown = set(given) - {field.name for field in fields(cls)}
            if unknown:
                raise ValueError(f"unknown fields {sorted(unknown)}")
            trunk = TrunkConfig(**_tuples(given.pop("trunk")))
            return cls(trunk=trunk, **_tuples(given))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"This is no {cls.KIND} configuration: {error}.") from error


def _tuples(given: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
