"""Commands beside the stages: about names that settings know, a machine, a run."""
