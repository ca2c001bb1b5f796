"""Question: how far does a supernet of CIFAR-10 get on CIFAR-100, each candidate fine-tuned before it is ranked?

experiments/cifar10.py the other way round: the classifier is fresh, for there are ten times as many classes.

Command: jaxnas run experiments/cifar100.py --data-dir ~/tensorflow_datasets   (after `jaxnas data` and `jaxnas train` of
             experiments/tiny_cifar100.py:residual with --data.source tfds:cifar10 --out runs/cifar10_supernet)
"""

from dataclasses import replace
from pathlib import Path

from jaxnas.cli import load_config

CIFAR10 = Path(__file__).with_name("cifar10.py")

cifar10, cifar10_paper = load_config(str(CIFAR10)), load_config(f"{CIFAR10}:paper")
data = replace(cifar10.data, source="tfds:cifar100")
weights = "runs/cifar10_supernet/supernet.npz"
config = replace(cifar10, name="cifar100", weights=weights, data=data)
paper = replace(cifar10_paper, name="cifar100_paper", weights=weights, data=data)
