"""What one server takes: sizes, counts and times, as they stand in its schema."""

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """How much is taken before a request is refused in a sentence."""

    model_config = ConfigDict(frozen=True)

    film_bytes: int = Field(default=64 * 2**20, description="Bytes of one uploaded film.")
    films: int = Field(default=6, description="Films of a study.")
    studies: int = Field(default=24, description="Uploaded studies kept at a time.")
    decode_seconds: float = Field(default=20.0, description="Time to decode one film.")
    decode_bytes: int = Field(default=4 * 2**30, description="Memory to decode one film.")
    points: int = Field(default=256, description="Points asked for in one request.")
    labels: int = Field(default=5000, description="Labels of one study.")

    @property
    def upload_bytes(self) -> int:
        """The largest body of a request: all films of a study and what frames them."""
        return self.films * self.film_bytes + 2**16
