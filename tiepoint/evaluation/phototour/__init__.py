"""The protocols of UBC PhotoTour."""
