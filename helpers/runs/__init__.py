"""Run notebooks: one folder each, strict parameters, a ledger of scores, reports and sweeps."""
# ruff: noqa: F401

from helpers.runs.execute import execute
from helpers.runs.parameters import check, declared, notebooks
from helpers.runs.report import write_report
from helpers.runs.run import Run, ledger, start
from helpers.runs.student import student
from helpers.runs.sweep import sweep, sweep_table
from helpers.runs.weights import start_from
