"""TSM ResNet-50 in plain torch: the other side of `train_step.py`, layer for layer."""

import torch
from torch import nn
from torch.nn import functional as F


def temporal_shift(x, num_segments, shift_div=8):
    """[b * t, c, h, w]: a part of the channels one frame back, as many one frame forth."""
    n, c, h, w = x.shape
    fold = c // shift_div
    clips = x.view(n // num_segments, num_segments, c, h, w)
    out = torch.zeros_like(clips)
    out[:, :-1, :fold] = clips[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return out.view(n, c, h, w)


def conv_bn(inputs, outputs, kernel, stride=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs, planes, stride, num_segments):
        super().__init__()
        self.num_segments = num_segments
        self.conv1 = conv_bn(inputs, planes, 1)
        self.conv2 = conv_bn(planes, planes, 3, stride)
        self.conv3 = conv_bn(planes, planes * 4, 1)
        same = stride == 1 and inputs == planes * 4
        self.downsample = nn.Identity() if same else conv_bn(inputs, planes * 4, 1, stride)

    def forward(self, x):
        y = F.relu(self.conv1(temporal_shift(x, self.num_segments)))
        y = self.conv3(F.relu(self.conv2(y)))
        return F.relu(y + self.downsample(x))


class TorchTSM(nn.Module):
    """uint8 [b, t, h, w, 3] -> [b, num_classes]."""

    def __init__(self, num_classes=400, num_segments=8, dropout=0.5):
        super().__init__()
        self.num_segments = num_segments
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1))
        self.stem = conv_bn(3, 64, 7, 2)
        layers, inputs = [], 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            planes = 64 * 2**stage
            for block in range(blocks):
                layers.append(Block(inputs, planes, 2 if stage and not block else 1, num_segments))
                inputs = planes * 4
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, video):
        x = video.flatten(0, 1).permute(0, 3, 1, 2)  # of channel-last memory: already channels_last
        x = (x.float() - self.mean) / self.std
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        x = self.layers(x).mean((2, 3))
        return self.fc(self.dropout(x)).view(-1, self.num_segments, self.fc.out_features).mean(1)
