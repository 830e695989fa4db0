"""Training: losses, the Lightning task, and the run folder. The only room that knows Lightning."""
