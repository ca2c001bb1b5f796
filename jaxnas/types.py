"""The shared vocabulary: what a genome, a population and a fitness are."""

from jaxtyping import Array, Float, Int, Key, Num

# A row of choice indices (not values), int32; in a Box of float32 values.
Genome = Num[Array, "genes"]
Genomes = Num[Array, "n genes"]
Fitness = Float[Array, "n objectives"]  # minimised; NaN = the evaluation failed, and never survives
Parents = Int[Array, "n 2"]  # rows of the archive that a candidate descends from; -1 = none
Size = Int[Array, ""] | int  # of a layer: an int, or traced
PRNGKey = Key[Array, ""]
