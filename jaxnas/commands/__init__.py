"""Commands that look: at the names that settings know, at a machine, at a run."""
