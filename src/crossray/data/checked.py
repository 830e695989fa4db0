"""Files of JSON in a stated form."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from crossray.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def read_checked(path: Path, model: type[Model], kind: str, page: str) -> Model:
    """What a file of JSON holds.

    Args:
        path: The file.
        model: Its form.
        kind: What it is of, in messages: "boxes".
        page: Where its form is described.

    Raises:
        InputError: No such file, or one of another form.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give a file of {kind}."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path} is no file of {kind} ({f'{at}: ' if at else ''}{first['msg']}); see {page}."
        ) from None
