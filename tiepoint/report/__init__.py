"""A registration becomes pictures and one page of HTML that needs no network."""

from tiepoint.report.page import write_report

__all__ = ["write_report"]
