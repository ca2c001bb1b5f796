import io

import numpy as np
import pytest


def png(image):
    """TFDS needs TensorFlow to encode an array, but takes the file of an image as it is."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG")
    file.seek(0)
    return file


def pixels(seed, shape=(8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="session")
def toy_tfds(tmp_path_factory):
    """Prepares a tiny data set "jaxnas_toy" as array_record and returns its folder.

    `toy_tfds({"train": 120, "test": 30})`.

    Without `features` and `example(seed) -> dict` it holds 8x8x3 images of noise, labelled cat,
    dog, eel in turn.
    """
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs pip install 'jaxnas[tfds]'")
    pytest.importorskip("array_record", reason="needs pip install 'jaxnas[tfds]'")

    class JaxnasToy(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
        VERSION = tfds.core.Version("1.0.0")
        splits, features, example = {}, {}, staticmethod(lambda seed: {})

        def _info(self):
            features = tfds.features.FeaturesDict(self.features)
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {
                split: self._generate_examples(start, n)
                for split, (start, n) in self.splits.items()
            }

        def _generate_examples(self, start, n):
            for i in range(n):
                yield i, self.example(start + i)

    def make(splits, features=None, example=None):
        starts = np.cumsum([0, *splits.values()])
        JaxnasToy.splits = {
            split: (int(start), n)
            for start, (split, n) in zip(starts, splits.items(), strict=False)
        }
        JaxnasToy.features = features or {
            "image": tfds.features.Image(shape=(8, 8, 3)),
            "label": tfds.features.ClassLabel(names=["cat", "dog", "eel"]),
        }
        JaxnasToy.example = staticmethod(
            example or (lambda seed: {"image": png(pixels(seed)), "label": seed % 3})
        )
        folder = tmp_path_factory.mktemp("tfds")
        JaxnasToy(data_dir=str(folder), file_format="array_record").download_and_prepare()
        return folder

    return make
