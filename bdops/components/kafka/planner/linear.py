"""Linear programs by HiGHS, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Minimise cost * x for low <= x <= high and row_low <= A x <= row_high; A by (rows, columns, values)."""

    cost: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]
    row_low: NDArray[np.float64]
    row_high: NDArray[np.float64]


def minimize(program: Program, *, method: str = "simplex") -> NDArray[np.float64] | None:
    """The solution, or None when there is none.

    `simplex` ends in a vertex; `ipm` is HiGHS' interior point method without crossover: much faster on large
    programs, and its solution lies in the middle of the best ones, which is good to sample from.
    """
    from highspy import _core

    # `highspy.Highs` prints a banner to stdout when it is made, before it can be told not to; its base does not.
    solver = _core._Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("solver", method)
    solver.setOptionValue("run_crossover", "off")
    order = np.lexsort((program.columns, program.rows))
    model = _core.HighsLp()
    model.num_col_, model.num_row_ = len(program.cost), len(program.row_low)
    model.col_cost_, model.col_lower_, model.col_upper_ = program.cost, program.low, program.high
    model.row_lower_, model.row_upper_ = program.row_low, program.row_high
    model.a_matrix_.format_ = _core.MatrixFormat.kRowwise
    model.a_matrix_.num_col_, model.a_matrix_.num_row_ = len(program.cost), len(program.row_low)
    starts = np.searchsorted(program.rows[order], np.arange(len(program.row_low) + 1))
    model.a_matrix_.start_ = starts.astype(np.int32)
    model.a_matrix_.index_ = program.columns[order].astype(np.int32)
    model.a_matrix_.value_ = program.values[order]
    solver.passModel(model)
    solver.run()
    done = {_core.HighsModelStatus.kOptimal}
    if method == "ipm":
        # Without crossover a solution within the tolerances may be left as unknown.
        done.add(_core.HighsModelStatus.kUnknown)
    if solver.getModelStatus() not in done:
        return None
    solution = np.array(solver.getSolution().col_value)
    return solution if len(solution) == len(program.cost) else None
