"""Hand-designed CIFAR networks, each a list of `Op` and its `Subnet`, as searches extract.

A `Subnet` is a plain pytree: see there why no nnx module.
"""
