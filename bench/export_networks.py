#!/usr/bin/env python3
"""Exports networks that torchvision does not have to ONNX: text, speech, generators, segmentation.

usage: export_networks.py OUT_DIR [NAME...] [--seed 1] [--force]

Writes OUT_DIR/NAME.onnx, with random weights and a symbolic batch, by PyTorch's TorchScript
exporter. Needs torch and onnx. The networks:
"""

import argparse
import pathlib
import warnings

import torch
from torch import nn

VOCABULARY = 5000


def conv_block(before, after):
    layers = []
    for i, o in ((before, after), (after, after)):
        layers += [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(*layers)


class TextCnn(nn.Module):
    """A sentence of 64 words, windows of 3 to 5 of them, the largest of each filter (Kim 2014)"""
    example = staticmethod(lambda: torch.randint(0, VOCABULARY, (1, 64)))

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 128)
        self.convs = nn.ModuleList(nn.Conv1d(128, 100, width) for width in (3, 4, 5))
        self.scores = nn.Linear(300, 2)

    def forward(self, words):
        x = self.embed(words).transpose(1, 2)
        return self.scores(torch.cat([torch.relu(conv(x)).amax(2) for conv in self.convs], 1))


class Speech(nn.Module):
    """A second of speech at 16 kHz, wave form in, network M5 (Dai et al. 2017)"""
    example = staticmethod(lambda: torch.randn(1, 1, 16000))

    def __init__(self):
        super().__init__()
        layers = []
        for i, o, width, stride in ((1, 128, 80, 4), (128, 128, 3, 1), (128, 256, 3, 1),
                                    (256, 512, 3, 1)):
            layers += [nn.Conv1d(i, o, width, stride), nn.BatchNorm1d(o), nn.ReLU(),
                       nn.MaxPool1d(4)]
        self.layers = nn.Sequential(*layers)
        self.scores = nn.Linear(512, 10)

    def forward(self, x):
        return self.scores(self.layers(x).mean(2))


class Generator(nn.Module):
    """100 numbers to an image of 64 x 64, the generator of DCGAN (Radford et al. 2016)"""
    example = staticmethod(lambda: torch.randn(1, 100, 1, 1))

    def __init__(self):
        super().__init__()
        layers = []
        for i, o, stride, pad in ((100, 512, 1, 0), (512, 256, 2, 1), (256, 128, 2, 1),
                                  (128, 64, 2, 1)):
            layers += [nn.ConvTranspose2d(i, o, 4, stride, pad, bias=False), nn.BatchNorm2d(o),
                       nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        return self.layers(x)


class UNet(nn.Module):
    """Segments an image of 128 x 128 in three steps down and up again (Ronneberger et al. 2015)"""
    example = staticmethod(lambda: torch.randn(1, 3, 128, 128))

    def __init__(self):
        super().__init__()
        widths = (32, 64, 128, 256)
        self.down = nn.ModuleList(conv_block(i, o) for i, o in zip((3, *widths), widths[:-1]))
        self.bottom = conv_block(widths[-2], widths[-1])
        pairs = list(zip(widths[:0:-1], widths[-2::-1]))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in pairs)
        self.up = nn.ModuleList(conv_block(i, o) for i, o in pairs)
        self.scores = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x):
        kept = []
        for block in self.down:
            kept.append(block(x))
            x = torch.max_pool2d(kept[-1], 2)
        x = self.bottom(x)
        for widen, block in zip(self.widen, self.up):
            x = block(torch.cat([widen(x), kept.pop()], 1))
        return self.scores(x)


class Encoder(nn.Module):
    """A text of 128 words through six encoder layers of a transformer, 384 wide, six heads"""
    example = staticmethod(lambda: torch.randint(0, VOCABULARY, (1, 128)))

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 384)
        layer = nn.TransformerEncoderLayer(384, 6, 1536, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 6)
        for weight in self.layers.parameters():  # copies of one layer would share their weights
            nn.init.normal_(weight, std=0.03)
        self.scores = nn.Linear(384, 10)

    def forward(self, words):
        return self.scores(self.layers(self.embed(words)).mean(1))


NETWORKS = {"textcnn": TextCnn, "m5": Speech, "dcgan": Generator, "unet": UNet,
            "transformer": Encoder}


def export(name, seed, path):
    torch.manual_seed(seed)
    model = NETWORKS[name]().eval()
    partial = path.with_suffix(".partial")
    torch.onnx.export(model, (NETWORKS[name].example(),), str(partial), dynamo=False,
                      opset_version=17, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
    partial.rename(path)


def main():
    about = __doc__ + "\n".join(f"  {name:12} {network.__doc__}"
                                for name, network in NETWORKS.items())
    parser = argparse.ArgumentParser(description=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="export what is there again")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    arguments.out.mkdir(parents=True, exist_ok=True)
    unknown = set(arguments.names) - set(NETWORKS)
    if unknown:
        parser.error(f"no network {sorted(unknown)[0]!r}; there are {', '.join(NETWORKS)}")
    for name in arguments.names or NETWORKS:
        path = arguments.out / f"{name}.onnx"
        if arguments.force or not path.exists():
            export(name, arguments.seed, path)
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
