"""Pictures and pages that show matches, registrations and the failures of models."""

from tiepoint.report.page import write_report

__all__ = ["write_report"]
