"""How many rows of a pool a strategy shall keep: ``--fraction`` or ``--size``."""

from __future__ import annotations

from dataclasses import dataclass

from competition.errors import UsageError
from participant_kit.subsets.strategy import StrategyOptions


@dataclass(frozen=True, slots=True)
class Budget:
    """A number of rows, or a share of a pool's; exactly one of the two."""

    fraction: float | None
    size: int | None

    @classmethod
    def of(cls, options: StrategyOptions, strategy: str) -> Budget:
        """What the options ask for.

        Raises:
            UsageError: not exactly one of fraction and size; names the strategy.
        """
        if (options.fraction is None) == (options.size is None):
            raise UsageError(
                f"Strategy {strategy} needs exactly one of --fraction and --size.", hint="For example: --fraction 0.3"
            )
        return cls(options.fraction, options.size)

    def rows(self, total: int, usable: int, lacking: str) -> int:
        """How many rows that is; of a fraction ``int(total * fraction)``, as DataComp rounds.

        Args:
            total: the pool's rows.
            usable: those that can be chosen.
            lacking: what the others have not, in words, for instance "features".

        Raises:
            UsageError: none, or more than can be chosen.
        """
        given = f"--size {self.size}" if self.fraction is None else f"--fraction {self.fraction}"
        wanted = self.size if self.fraction is None else int(total * self.fraction)
        assert wanted is not None
        if not 0 < wanted <= total:
            raise UsageError(f"{given} means {wanted:,} of the pool's {total:,} rows.", hint="Choose from 1 to all.")
        if wanted > usable:
            raise UsageError(
                f"{given} means {wanted:,} rows, and {usable:,} of the pool's {total:,} have {lacking}.",
                hint="Ask for fewer.",
            )
        return wanted
