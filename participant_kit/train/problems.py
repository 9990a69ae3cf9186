"""Everything that is wrong, said at once: who prepares a long run should not learn of one thing an hour."""

from __future__ import annotations

from types import TracebackType

from competition.errors import DataCupError, TrainingError


class Problems:
    """Collects errors instead of stopping at the first: notes the one that ends a ``with`` block, if one does.

    ``errors`` are those noted so far, each once.
    """

    def __init__(self) -> None:
        self.errors: list[DataCupError] = []

    def __bool__(self) -> bool:
        return bool(self.errors)

    def __enter__(self) -> None:
        """Nothing is needed to begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, DataCupError):
            return False
        self.add(error)
        return True

    def add(self, error: DataCupError) -> None:
        """Note an error; the same one twice counts once."""
        if error.message not in {known.message for known in self.errors}:
            self.errors.append(error)

    def all(self) -> DataCupError:
        """A single problem as it is; several as one ``TrainingError``, numbered, with every hint once."""
        if len(self.errors) == 1:
            return self.errors[0]
        numbered = " ".join(f"({number}) {error.message}" for number, error in enumerate(self.errors, 1))
        hints = dict.fromkeys(error.hint for error in self.errors if error.hint)
        return TrainingError(
            f"The run cannot go ahead for {len(self.errors)} reasons: {numbered}", hint=" ".join(hints)
        )
