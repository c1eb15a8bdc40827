"""Many pairs of images are registered one by one, resumed after an interruption, and summarised."""
