"""Two views become a registration: the transform, its tie points, an error estimate and a verdict."""
