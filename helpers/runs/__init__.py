"""Runs: one folder each, strict parameters, the ledger of scores, the report."""

from helpers.runs.execute import execute, notebooks
from helpers.runs.parameters import check, declared
from helpers.runs.report import score_table, write_report
from helpers.runs.run import Run, ledger, start

__all__ = ["Run", "check", "declared", "execute", "ledger", "notebooks", "score_table", "start", "write_report"]
