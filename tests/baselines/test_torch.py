"""ResNets and MobileNetV2 against PyTorch, spelled as the papers have them."""

import jax
import numpy as np
import pytest

from jaxnas.baselines import mobilenet_v2, resnet
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Subnet

torch = pytest.importorskip("torch", reason="needs pip install 'jaxnas[peers]'")
F = torch.nn.functional


def tensors(subnet):
    """{path: {name: tensor}}, kernels as PyTorch has them."""
    axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
    both = {path: arrays | subnet.stats.get(path, {}) for path, arrays in subnet.weights.items()}
    return {
        path: {
            name: torch.from_numpy(np.array(array).transpose(axes[array.ndim]).copy())
            for name, array in arrays.items()
        }
        for path, arrays in both.items()
    }


def conv_norm(w, x, stride=1, groups=1):
    x = F.conv2d(x, w["kernel"], None, stride, w["kernel"].shape[-1] // 2, groups=groups)
    return F.batch_norm(x, w["mean"], w["var"], w["scale"], w["shift"], eps=1e-5)


def torch_resnet(w, x, blocks, shortcut):
    x = F.relu(conv_norm(w["conv1"], x))
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(blocks):
            path = f"layer{stage}/{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = conv_norm(w[f"{path}/conv2"], F.relu(conv_norm(w[f"{path}/conv1"], x, stride)))
            x = F.relu(y + (x if stride == 1 else shortcut(w, path, x, width)))
    return F.linear(x.mean((2, 3)), w["linear"]["kernel"], w["linear"]["bias"])


SHORTCUTS = {
    "A": lambda w, path, x, width: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, width // 4, width // 4)),
    "B": lambda w, path, x, width: conv_norm(w[f"{path}/shortcut"], x, 2),
}


def torch_mobilenet(w, x, join=torch.add):
    x = F.relu6(conv_norm(w["first_conv"], x))
    for stage, (expand, _, blocks, stride) in enumerate(mobilenet_v2.STAGES, 1):
        for block in range(blocks):
            path = f"mb{stage}/block{block}"
            y = x
            if expand > 1:
                y = F.relu6(conv_norm(w[f"{path}/expand"], y))
            y = F.relu6(conv_norm(w[f"{path}/depthwise"], y, 1 if block else stride, y.shape[1]))
            y = conv_norm(w[f"{path}/project"], y)
            x = join(x, y) if x.shape == y.shape else y
    x = F.relu6(conv_norm(w["last_conv"], x)).mean((2, 3))
    return F.linear(x, w["classifier"]["kernel"], w["classifier"]["bias"])


def relative(subnet, images, theirs):
    ours = np.asarray(jax.jit(Subnet.__call__)(subnet, images))
    assert np.abs(ours).max() > 1
    return np.abs(ours - theirs.numpy()).max() / np.abs(ours).max()


def nchw(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("option", SHORTCUTS)
def test_resnets(option, random_subnet, images):
    subnet = random_subnet(resnet.operators(20, 10, projection=option == "B"), 0.7)
    w = tensors(subnet)
    x = nchw(images)
    assert relative(subnet, images, torch_resnet(w, x, 3, SHORTCUTS[option])) < 1e-4
    if option == "A":  # a planted bug: all new channels behind the old ones
        wrong = torch_resnet(
            w, x, 3, lambda w, path, x, width: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, width // 2))
        )
        assert relative(subnet, images, wrong) > 1e-2


def test_mobilenet(random_subnet, images):
    subnet = random_subnet(mobilenet_v2.operators(0.5, 10))
    w = tensors(subnet)
    x = nchw(images)
    assert relative(subnet, images, torch_mobilenet(w, x)) < 1e-4
    # A planted bug: no way around.
    assert relative(subnet, images, torch_mobilenet(w, x, join=lambda x, y: y)) > 1e-2


@pytest.fixture
def state_dict(random_subnet):
    """A ResNet-8 for 5 classes, and its arrays by PyTorch's names."""
    subnet = random_subnet(resnet.operators(8, 5, projection=False))
    names = {
        "scale": "bn.weight",
        "shift": "bn.bias",
        "mean": "bn.running_mean",
        "var": "bn.running_var",
        "kernel": "conv.weight",
    }
    arrays = {}
    for path, own in tensors(subnet).items():
        for name, tensor in own.items():
            module, kind = names.get(name, f"conv.{name}").split(".")
            place = path if path == "linear" else path.replace("conv", module)
            arrays[f"{place.replace('/', '.')}.{kind}"] = tensor.numpy()
    return subnet, arrays


def test_a_state_dict_is_read(state_dict, tmp_path):
    subnet, arrays = state_dict
    assert arrays["layer2.0.bn1.running_mean"].shape == (32,)
    np.savez(tmp_path / "resnet8.npz", **arrays)
    loaded = resnet.load(tmp_path / "resnet8.npz")
    assert loaded.ops == subnet.ops
    jax.tree.map(
        np.testing.assert_array_equal,
        (loaded.weights, loaded.stats),
        (subnet.weights, subnet.stats),
    )


def test_what_is_no_resnet_is_refused(state_dict, tmp_path):
    _, arrays = state_dict
    path = tmp_path / "weights.npz"
    with pytest.raises(UserError, match=r"cannot read the weights .*: .*No such file"):
        resnet.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot read the weights"):
        resnet.load(path)
    np.savez(
        path,
        **{name: array for name, array in arrays.items() if name != "layer3.0.bn2.running_var"},
    )
    with pytest.raises(
        UserError, match=r"layer3.0.bn2.running_var should be \(64,\), found absent"
    ):
        resnet.load(path)
    np.savez(path, **(arrays | {"conv1.weight": arrays["conv1.weight"][:, :1]}))
    with pytest.raises(
        UserError, match=r"conv1.weight should be \(16, 3, 3, 3\), found \(16, 1, 3, 3\)"
    ):
        resnet.load(path)
