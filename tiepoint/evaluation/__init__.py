"""Metrics and protocols. The metrics are here; the protocols are modules of their own, since they load torch."""

from tiepoint.evaluation.metrics import RULES, average_precision, fdr95, fpr95, fpr95_matrix, roc, roc_auc, top1

__all__ = ["RULES", "average_precision", "fdr95", "fpr95", "fpr95_matrix", "roc", "roc_auc", "top1"]
