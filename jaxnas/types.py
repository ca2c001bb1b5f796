"""The shared vocabulary: what a genome, a population and a fitness are."""

from typing import Any

from jaxtyping import Array, Float, Int, Key, Num

# A row of choice indices (not values), int32; in a Box of float32 values.
Genome = Num[Array, "genes"]
# A weight for every choice, 0 behind a gene's last; a genome is its one-hot case.
SoftGenome = Float[Array, "genes choices"]
Genomes = Num[Array, "n genes"]
Fitness = Float[Array, "n objectives"]  # minimised; NaN = the evaluation failed, and never survives
Parents = Int[Array, "n 2"]  # rows of the archive that a candidate descends from; -1 = none
# Of a layer: an int; where many networks are described at once, an array with an entry for each.
Size = Any
PRNGKey = Key[Array, ""]
