"""Networks of every kind that people bring, narrowed so that a method takes seconds: name -> (builder, input shape)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torchvision.models.googlenet import BasicConv2d, Inception

Build = Callable[[int], nn.Module]
SMALL, PHOTO = (1, 8, 8), (3, 32, 32)
ZOO: dict[str, tuple[Build, tuple[int, int, int]]] = {}
REFUSED = {  # network -> what every trial on it, dense included, has to say: these cannot be measured
    "scripted": "which cannot be pruned: return the plain module",
    "tuple_outputs": "the network must return a tensor of logits, got tuple",
    "dict_outputs": "the network must return a tensor of logits, got dict",
}


def kind(shape: tuple[int, int, int] = SMALL) -> Callable[[Build], Build]:
    """Enter a builder under its own name."""

    def enter(build: Build) -> Build:
        ZOO[build.__name__] = (build, shape)
        return build

    return enter


class Net(nn.Module):
    """Modules by name and a forward pass of one's own."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.own = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.own(self, x)


def head(width: int, classes: int) -> nn.Sequential:
    """Pooling and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def conv(inputs: int, outputs: int, kernel: int = 3, **options) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel, **{"padding": kernel // 2, **options})


def photo(name: str, build: Build, shape: tuple[int, int, int] = PHOTO) -> None:
    """Enter a narrowed architecture of torchvision."""
    ZOO[name] = (build, shape)


def _vgg(c: int) -> nn.Module:
    features = tv.vgg.make_layers([8, "M", 16, "M", 16, 16, "M"], batch_norm=True)
    return nn.Sequential(
        features, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, c)
    )


def _alexnet(c: int) -> nn.Module:
    return nn.Sequential(
        conv(3, 8, 5, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv(8, 16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(1024, 24),
        nn.ReLU(),
        nn.Linear(24, c),
    )


def _googlenet(c: int) -> nn.Module:
    return nn.Sequential(BasicConv2d(3, 8, kernel_size=3, stride=2), Inception(8, 4, 4, 6, 2, 4, 4), head(18, c))


def _inception(c: int) -> nn.Module:
    stem = tv.inception.BasicConv2d(3, 8, kernel_size=3, stride=4)
    return nn.Sequential(stem, tv.inception.InceptionC(8, channels_7x7=4), head(768, c))


def _efficientnet(c: int) -> nn.Module:
    block = tv.efficientnet.MBConvConfig
    settings = [block(1, 3, 1, 8, 8, 1, 1, 1), block(4, 3, 2, 8, 12, 1, 1, 1), block(4, 5, 2, 12, 16, 1, 1, 1)]
    return tv.EfficientNet(settings, dropout=0.1, stochastic_depth_prob=0.0, num_classes=c, last_channel=32)


def _convnext(c: int) -> nn.Module:
    block = tv.convnext.CNBlockConfig
    return tv.ConvNeXt([block(8, 16, 1), block(16, None, 1)], num_classes=c)


def _regnet(c: int) -> nn.Module:
    return tv.RegNet(
        tv.regnet.BlockParams([1, 1], [8, 16], [4, 4], [1, 1], [2, 2], se_ratio=0.25), num_classes=c, stem_width=8
    )


def _squeezenet(c: int) -> nn.Module:
    fires = (tv.squeezenet.Fire(8, 4, 8, 8), tv.squeezenet.Fire(16, 4, 8, 8))
    return nn.Sequential(
        conv(3, 8, stride=2), nn.ReLU(), *fires, nn.Conv2d(16, c, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def _resnet(c: int, **options) -> nn.Module:
    block = tv.resnet.Bottleneck
    return nn.Sequential(conv(3, 16), block(16, 4, **options), block(16, 4, **options), head(16, c))


photo("vgg16_bn", _vgg)
photo("narrow_alexnet", _alexnet)
photo("googlenet", _googlenet)
photo("inception_v3", _inception)
photo("efficientnet", _efficientnet)
photo("convnext", _convnext)
photo("regnet", _regnet)
photo("squeezenet", _squeezenet)
photo("resnet", _resnet)
photo("resnext", partial(_resnet, groups=2, base_width=64))
photo("mobilenet_v2", lambda c: tv.MobileNetV2(c, width_mult=0.1))
photo("mobilenet_v3", lambda c: tv.mobilenet_v3_small(num_classes=c, width_mult=0.2))
photo("mnasnet", lambda c: tv.MNASNet(0.1, num_classes=c))
photo("shufflenet", lambda c: tv.ShuffleNetV2([1, 1, 1], [8, 16, 16, 32, 32], num_classes=c))
photo("densenet", lambda c: tv.DenseNet(4, (2, 2), 8, num_classes=c))
photo("vit", lambda c: tv.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=c))
photo("swin", lambda c: tv.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=c))
photo(
    "swin_v2",
    lambda c: tv.SwinTransformer(
        [4, 4],
        8,
        [1, 1],
        [2, 2],
        [4, 4],
        num_classes=c,
        block=tv.swin_transformer.SwinTransformerBlockV2,
        downsample_layer=tv.swin_transformer.PatchMergingV2,
    ),
)
photo("maxvit", lambda c: tv.MaxVit((32, 32), 8, 4, [8], [1], 8, 0.0, num_classes=c))


def _timm(name: str, c: int, **options) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=c, **options)


try:
    import timm  # noqa: F401
except ImportError:
    pass
else:
    TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    photo("timm_vit", partial(_timm, "vit_tiny_patch16_224", **TINY))
    photo("timm_deit", partial(_timm, "deit_tiny_patch16_224", **TINY))
    photo("timm_resnet", partial(_timm, "resnet10t", stem_width=4, channels=(8, 8, 16, 16)))


@kind()
def fully_connected(c: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, c))


@kind()
def convolutional(c: int) -> nn.Module:
    return nn.Sequential(conv(1, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 12), nn.ReLU(), head(12, c))


@kind()
def root_is_a_layer(c: int) -> nn.Module:
    class Root(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1))

    return Root(64, c)


@kind()
def residual(c: int) -> nn.Module:
    return Net(lambda m, x: m.head(m.b(functional.relu(m.a(x))) + m.a(x)), a=conv(1, 8), b=conv(8, 8), head=head(8, c))


@kind()
def depthwise(c: int) -> nn.Module:
    return nn.Sequential(
        conv(1, 8),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        conv(8, 8, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 12, 1),
        nn.ReLU(),
        head(12, c),
    )


@kind()
def unusual_geometry(c: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, (1, 3), padding="same"),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding="valid"),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", dilation=1),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=2, dilation=2),
        head(12, c),
    )


@kind()
def one_channel(c: int) -> nn.Module:
    return nn.Sequential(
        conv(1, 8),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        conv(8, 1),
        nn.BatchNorm2d(1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, c),
    )


@kind()
def transposed(c: int) -> nn.Module:
    up = nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(conv(1, 8, stride=2), nn.ReLU(), up, nn.ReLU(), conv(6, 8), nn.ReLU(), head(8, c))


@kind()
def squeeze_excite(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        x = m.a(x)
        return m.head(x * m.up(functional.relu(m.down(x.mean((2, 3))))).sigmoid()[:, :, None, None])

    return Net(forward, a=conv(1, 12), down=nn.Linear(12, 4), up=nn.Linear(4, 12), head=head(12, c))


def _apart(name: str, take: Callable[[Tensor], Tensor], width: int) -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        return m.head(m.b(take(functional.relu(m.a(x)))))

    def build(c: int) -> nn.Module:
        return Net(forward, a=conv(1, 8), b=conv(width, 8), head=head(8, c))

    ZOO[name] = (build, SMALL)


_apart("channels_chunked", lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), 8)
_apart("channels_split", lambda x: torch.cat([x.split([3, 5], 1)[1], x.split([3, 5], 1)[0]], 1), 8)
_apart("channels_sliced", lambda x: x[:, 2:], 6)
_apart("channels_narrowed", lambda x: x.narrow(1, 1, 4), 4)
_apart("channels_shuffled", lambda x: x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2), 8)
_apart("channels_rolled", lambda x: x.roll(1, 1), 8)
_apart("channels_twice", lambda x: torch.cat([x, x], 1), 16)
_apart("pixels_shuffled", lambda x: functional.pixel_shuffle(x, 2), 2)


@kind()
def one_layer_thrice(c: int) -> nn.Module:
    return Net(lambda m, x: m.out(m.a(m.a(m.a(x.flatten(1)).relu()).relu())), a=nn.Linear(64, 64), out=nn.Linear(64, c))


@kind()
def one_module_two_names(c: int) -> nn.Module:
    shared = nn.Linear(32, 32)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), shared, nn.ReLU(), shared, nn.Linear(32, c))


@kind()
def called_by_keyword(c: int) -> nn.Module:
    return Net(lambda m, x: m.b(input=m.a(input=x.flatten(1)).relu()), a=nn.Linear(64, 24), b=nn.Linear(24, c))


@kind()
def convolutions_by_keyword(c: int) -> nn.Module:
    return Net(
        lambda m, x: m.head(m.b(input=m.a(input=x).relu()).relu()), a=conv(1, 8), b=conv(8, 12), head=head(12, c)
    )


@kind()
def a_single_vector(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        return m.b(m.a(x.flatten(1)) + m.shift(m.constant))

    network = Net(forward, a=nn.Linear(64, 24), shift=nn.Linear(8, 24), b=nn.Linear(24, c))
    network.register_buffer("constant", torch.ones(8))
    return network


@kind()
def three_dimensional(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        return m.head(m.flat(m.deep(x[:, :, None]).squeeze(2)))

    return Net(forward, deep=nn.Conv3d(1, 6, (1, 3, 3), padding=(0, 1, 1)), flat=conv(6, 8), head=head(8, c))


@kind()
def one_dimensional(c: int) -> nn.Module:
    return Net(lambda m, x: m.out(m.a(x.flatten(2)).relu().mean(2)), a=nn.Conv1d(1, 12, 5), out=nn.Linear(12, c))


@kind()
def lstm(c: int) -> nn.Module:
    return Net(
        lambda m, x: m.out(m.rnn(m.a(x[:, 0]))[0][:, -1]),
        a=nn.Linear(8, 12),
        rnn=nn.LSTM(12, 10, batch_first=True),
        out=nn.Linear(10, c),
    )


@kind()
def gru_both_ways(c: int) -> nn.Module:
    return Net(
        lambda m, x: m.out(m.rnn(x[:, 0])[0][:, -1]),
        rnn=nn.GRU(8, 10, bidirectional=True, batch_first=True),
        out=nn.Linear(20, c),
    )


@kind()
def recurrent_cells(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        state = None
        for row in x[:, 0].unbind(1):
            state = m.cell(row, state)
        return m.out(state[0])

    return Net(forward, cell=nn.LSTMCell(8, 12), out=nn.Linear(12, c))


@kind()
def bilinear(c: int) -> nn.Module:
    return Net(lambda m, x: m.b(m.a(x.flatten(1)), x[:, 0, 0]), a=nn.Linear(64, 16), b=nn.Bilinear(16, 8, c))


@kind()
def raw_parameters(c: int) -> nn.Module:
    network = Net(lambda m, x: m.out(torch.einsum("bi,oi->bo", x.flatten(1), m.matrix).relu()), out=nn.Linear(16, c))
    network.matrix = nn.Parameter(torch.randn(16, 64) / 8)
    return network


@kind()
def multihead_attention(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        x = m.embed(x[:, 0])
        return m.out((x + m.attention(x, x, x, need_weights=False)[0]).mean(1))

    return Net(
        forward, embed=nn.Linear(8, 16), attention=nn.MultiheadAttention(16, 2, batch_first=True), out=nn.Linear(16, c)
    )


@kind()
def functional_attention(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        q, k, v = m.qkv(m.embed(x[:, 0])).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return m.out(m.project(mixed).mean(1))

    return Net(forward, embed=nn.Linear(8, 16), qkv=nn.Linear(16, 48), project=nn.Linear(16, 16), out=nn.Linear(16, c))


@kind()
def encoder_layer(c: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return Net(
        lambda m, x: m.out(m.layer(m.embed(x[:, 0])).mean(1)), embed=nn.Linear(8, 16), layer=layer, out=nn.Linear(16, c)
    )


@kind()
def encoder_norm_first(c: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return Net(
        lambda m, x: m.out(m.encoder(m.embed(x[:, 0])).mean(1)),
        embed=nn.Linear(8, 16),
        encoder=encoder,
        out=nn.Linear(16, c),
    )


class Standardized(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class Equalised(nn.Linear):
    """Equalised learning rate."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.in_features**-0.5 * 4, self.bias)


class Masked(nn.Linear):
    """A mask inside."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.register_buffer("mask", (torch.arange(sizes[0] * sizes[1]) % 2).view(sizes[1], sizes[0]).float())

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.mask, self.bias)


@kind()
def standardized_convolutions(c: int) -> nn.Module:
    return nn.Sequential(Standardized(1, 8, 3), nn.ReLU(), Standardized(8, 12, 3), nn.ReLU(), head(12, c))


@kind()
def equalised_linear(c: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), Equalised(64, 24), nn.ReLU(), Equalised(24, c))


@kind()
def masked_linear(c: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), Masked(64, 24), nn.ReLU(), nn.Linear(24, c))


@kind()
def tied_to_embedding(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        tokens = (x[:, 0].abs() * 4).long().clamp(0, 15).flatten(1)
        return m.out(m.project(m.table(tokens).mean(1)).relu())

    network = Net(forward, table=nn.Embedding(16, 12), project=nn.Linear(12, 16), out=nn.Linear(16, c))
    network.project.weight = network.table.weight
    return network


@kind()
def weight_read_outside(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        code = m.a(x.flatten(1)).relu()
        return m.out(functional.linear(code, m.a.weight.t()))

    return Net(forward, a=nn.Linear(64, 24), out=nn.Linear(64, c))


def _wrapped(name: str, wrap: Callable[[nn.Module], nn.Module]) -> None:
    def build(c: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), wrap(nn.Linear(64, 24)), nn.ReLU(), nn.Linear(24, c))

    ZOO[name] = (build, SMALL)


class Doubled(nn.Module):
    """A parametrization of one's own."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


_wrapped("weight_norm", parametrizations.weight_norm)
_wrapped("spectral_norm", parametrizations.spectral_norm)
_wrapped("orthogonal", parametrizations.orthogonal)
_wrapped("own_parametrization", lambda m: (nn.utils.parametrize.register_parametrization(m, "weight", Doubled()), m)[1])
_wrapped("old_weight_norm", nn.utils.weight_norm)
_wrapped("old_spectral_norm", nn.utils.spectral_norm)


@kind()
def norms_of_all_kinds(c: int) -> nn.Module:
    return nn.Sequential(
        conv(1, 8),
        nn.InstanceNorm2d(8, affine=True),
        nn.PReLU(8),
        conv(8, 8),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        conv(8, 8),
        nn.BatchNorm2d(8, affine=False, momentum=None),
        nn.Hardswish(),
        nn.Flatten(),
        nn.LayerNorm(512),
        nn.Linear(512, c),
    )


@kind()
def buffer_that_is_not_saved(c: int) -> nn.Module:
    network = Net(lambda m, x: m.b((m.a(x.flatten(1)) * m.table[:24]).relu()), a=nn.Linear(64, 24), b=nn.Linear(24, c))
    network.register_buffer("table", torch.ones(1000), persistent=False)
    return network


@kind()
def extra_state(c: int) -> nn.Module:
    class Counted(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"calls": 3}

        def set_extra_state(self, state: dict[str, int]) -> None:
            assert state == {"calls": 3}

    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), Counted(24, c))


@kind()
def lazy_layers(c: int) -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(c))


@kind()
def compiled(c: int) -> nn.Module:
    return torch.compile(fully_connected(c), backend="eager")


@kind()
def scripted(c: int) -> nn.Module:
    return torch.jit.script(fully_connected(c))


@kind()
def logits_beside_others(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        code = m.a(x.flatten(1)).relu()
        return (m.b(code), m.aside(code)) if m.training else m.b(code)

    return Net(forward, a=nn.Linear(64, 24), b=nn.Linear(24, c), aside=nn.Linear(24, c))


@kind()
def operator_without_a_formula(c: int) -> nn.Module:
    return Net(lambda m, x: m.b(torch.fft.rfft(m.a(x.flatten(1))).abs()), a=nn.Linear(64, 22), b=nn.Linear(12, c))


@kind()
def tuple_outputs(c: int) -> nn.Module:
    return Net(lambda m, x: (m.b(m.a(x.flatten(1)).relu()), x), a=nn.Linear(64, 24), b=nn.Linear(24, c))


@kind()
def dict_outputs(c: int) -> nn.Module:
    return Net(lambda m, x: {"logits": m.b(m.a(x.flatten(1)).relu())}, a=nn.Linear(64, 24), b=nn.Linear(24, c))


@kind()
def layers_without_entries(c: int) -> nn.Module:
    def forward(m: Net, x: Tensor) -> Tensor:
        code = m.a(x.flatten(1)).relu()
        return m.b(code + m.nothing_in(code[:, :0]) + m.nothing_out(code).sum(1, keepdim=True))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        empty = {"nothing_in": nn.Linear(0, 24), "nothing_out": nn.Linear(24, 0)}
    return Net(forward, a=nn.Linear(64, 24), b=nn.Linear(24, c), **empty)


@kind()
def frozen(c: int) -> nn.Module:
    network = nn.Sequential(conv(1, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 12), nn.ReLU(), head(12, c))
    for part in network[:3]:
        part.requires_grad_(False)
    return network


@kind()
def bfloat16(c: int) -> nn.Module:
    network = Net(
        lambda m, x: m.head(m.b(m.a(x.bfloat16()).relu()).relu()).float(), a=conv(1, 8), b=conv(8, 12), head=head(12, c)
    )
    return network.bfloat16()
