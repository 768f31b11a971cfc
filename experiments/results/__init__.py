"""What records say: milestones, statistics over seeds, tables."""
