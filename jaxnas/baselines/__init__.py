"""Hand-designed CIFAR networks, each a list of `Op` and its `Subnet` (a plain pytree: see there why no nnx module), as searches extract."""
