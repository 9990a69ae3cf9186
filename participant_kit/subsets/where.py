"""A participant's own condition on the pool's metadata, in SQL."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from competition.data.engine import Workers
from competition.data.metadata import check_single, column_types, column_uids, list_metadata, read_columns
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.record import SubsetReport
from participant_kit.subsets.result import Funnel, SubsetResult
from participant_kit.subsets.run import Choice, run_choice

# Functions of polars' SQL that say something about one row. All others (averages, ranks, counts) look at many, and
# their answer would depend on how the pool is cut into files.
_NUMBER_FUNCTIONS = """
    abs acos acosd asin asind atan atan2 atan2d atand cbrt ceil ceiling cos cosd cot cotd degrees div exp floor ln log
    log10 log1p log2 mod pi pow power radians round sign sin sind sqrt tan tand bit_and bit_count bit_not bit_or bit_xor
"""
_TEXT_FUNCTIONS = """
    bit_length char_length character_length concat concat_ws ends_with initcap left length lower ltrim normalize
    octet_length position regexp_like replace reverse right rtrim split_part starts_with string_to_array strpos substr
    substring trim upper
"""
_OTHER_FUNCTIONS = """
    date date_part extract strftime strptime timestamp cast coalesce greatest if ifnull least nullif try_cast
    array_contains array_get array_length array_lower array_mean array_reverse array_sum array_to_string array_unique
    array_upper
"""
ROW_FUNCTIONS = frozenset((_NUMBER_FUNCTIONS + _TEXT_FUNCTIONS + _OTHER_FUNCTIONS).split())
_KEYWORDS = """
    and or not in when then else case between like ilike rlike regexp is from as char varchar decimal numeric
"""
_MAY_STAND_BEFORE_A_BRACKET = ROW_FUNCTIONS | frozenset(_KEYWORDS.split())
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_QUOTED_NAME = re.compile(r'"[^"]*"|`[^`]*`')
_COMMENT = re.compile(r"--|/\*")
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
_MANY_ROWS = re.compile(r"\b(select|over)\b", re.IGNORECASE)


def where_subset(
    condition: str, metadata_dir: Path, save_path: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> SubsetReport:
    """Keep the rows for which a condition is true, for instance ``clip_l14_similarity_score > 0.24``.

    The condition is an expression of polars' SQL over the columns of the metadata, evaluated row by row. A missing
    value, null or NaN, is null here: a comparison with it is neither true nor false, ``IS NULL`` finds it. Rows where
    the condition is null are dropped and counted apart from those where it is false. Numbers compare with a score as
    float32, so that a stored float32(0.281) is ``>= 0.281``, as of the option ``--threshold``.

    Args:
        condition: see above.
        metadata_dir: the pool's metadata folder.
        save_path: the ``.npy`` to write; the record, which holds the condition, goes to ``<save_path>.json``.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every metadata file.

    Raises:
        UsageError: not SQL, not about single rows, not true or false, or about unknown columns; or a bad save path.
        DataFormatError: a metadata file is damaged.
        StorageError: a file cannot be read or written.
    """
    first = list_metadata(metadata_dir)[0]
    compile_condition(condition, column_types(first), first)
    choice = Choice("where", {"condition": condition}, partial(_select, condition))
    return run_choice(choice, metadata_dir, save_path, workers, progress)


def compile_condition(condition: str, columns: Any, path: Path) -> tuple[pl.Expr, list[str]]:
    """The condition as an expression, and the columns it is about.

    Args:
        condition: SQL.
        columns: the ``pyarrow.Schema`` of the metadata file ``path``.
        path: for messages.

    Raises:
        UsageError: see ``where_subset``.
        DataFormatError: the file has one of the columns twice.
    """
    _check_rowwise(condition)
    try:
        expression = pl.sql_expr(condition)
        names = list(dict.fromkeys(expression.meta.root_names()))
    except pl.exceptions.PolarsError as error:
        raise _not_sql(condition, error) from error
    unknown = [name for name in names if name not in columns.names]
    if unknown:
        raise UsageError(
            f"The condition names {', '.join(map(repr, unknown))}, which {path} does not have as a column.",
            hint=f"It has: {', '.join(columns.names)}. Text stands in single quotes.",
        )
    for name in names:
        check_single(path, columns, name)
    if not names:
        raise UsageError("The condition names no column, so it is the same for every row.")
    empty = pl.DataFrame([pl.Series(name, columns.empty_table().column(name)) for name in names])
    kind = _evaluate(condition, expression, empty).dtype
    if kind != pl.Boolean:
        raise UsageError(
            f"The condition yields {kind}, not true or false.", hint="Compare with something, for instance `> 0.24`."
        )
    return expression, names


def _select(condition: str, pool: MetadataPool) -> SubsetResult:
    return pool.select(partial(_select_file, condition), "evaluating the condition", quick=True)


def _select_file(condition: str, path: Path) -> SubsetResult:
    expression, names = compile_condition(condition, column_types(path), path)
    table = read_columns(path, ["uid", *(name for name in names if name != "uid")])
    frame = pl.DataFrame([pl.Series(name, table.column(name)) for name in names])
    answers = _evaluate(condition, expression, frame)
    if len(answers) != table.num_rows:
        raise UsageError(
            f"The condition gives {len(answers)} answers for {table.num_rows} rows; it must give one each."
        )
    return keep_true(answers, "condition").result(column_uids(table, path))


def keep_true(answers: pl.Series, asked: str) -> Funnel:
    """The rows with the answer true; the others are counted as ``<asked>_null`` and ``<asked>_false``."""
    funnel = Funnel(len(answers))
    known = answers.is_not_null().to_numpy()
    funnel.keep(known, f"{asked}_null")
    funnel.keep(answers.fill_null(value=False).to_numpy()[funnel.rows], f"{asked}_false")
    return funnel


def _evaluate(condition: str, expression: pl.Expr, frame: pl.DataFrame) -> pl.Series:
    try:
        return frame.with_columns(cs.float().fill_nan(None)).select(expression).to_series()
    except pl.exceptions.PolarsError as error:
        raise _not_sql(condition, error) from error


def _check_rowwise(condition: str) -> None:
    """Refuse what looks at more than one row, by its text: polars says of some such expressions that they do not."""
    text = _QUOTED_NAME.sub(" quoted_name ", _LITERAL.sub(" ", condition))
    if _COMMENT.search(text):
        raise UsageError("The condition has a comment; leave it out.")
    many = _MANY_ROWS.search(text)
    if many:
        raise UsageError(f"The condition says {many[1]!r}, but it can look at one row at a time only.")
    for called in _CALL.findall(text):
        if called.lower() not in _MAY_STAND_BEFORE_A_BRACKET:
            raise UsageError(
                f"The condition calls {called}(), which is not a function of single rows.",
                hint="Averages, ranks and counts need a strategy, or `datacup subset top`.",
            )


def _not_sql(condition: str, error: Exception) -> UsageError:
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return UsageError(
        f"The condition {condition!r} cannot be evaluated: {reason}.",
        hint="Write SQL as in `clip_l14_similarity_score > 0.24 and original_width >= 200`.",
    )
