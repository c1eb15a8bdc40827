"""Describers and relaters as users hold them: networks with weights, classical descriptors, and how they load."""
