"""Many pairs: registered one by one, resumed, and summarised."""
