"""A registration as one page of HTML."""

from tiepoint.report.page import write_report

__all__ = ["write_report"]
