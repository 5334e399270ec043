"""TSM ResNet in plain torch, layer for layer, for comparison in `train_step.py` and the trajectory test."""

import torch
from torch import nn
from torch.nn import functional as F

DEPTHS = {18: (False, (2, 2, 2, 2)), 50: (True, (3, 4, 6, 3))}  # bottleneck blocks?, blocks per stage


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


class ConvBN(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.bn(self.conv(x))


class Block(nn.Module):
    def __init__(self, inputs, planes, stride, bottleneck, num_segments):
        super().__init__()
        self.num_segments = num_segments
        outputs = planes * 4 if bottleneck else planes
        if bottleneck:
            self.conv1 = ConvBN(inputs, planes, 1)
            self.conv2 = ConvBN(planes, planes, 3, stride)
            self.conv3 = ConvBN(planes, outputs, 1)
        else:
            self.conv1 = ConvBN(inputs, planes, 3, stride)
            self.conv2 = ConvBN(planes, planes, 3)
            self.conv3 = None
        same = stride == 1 and inputs == outputs
        self.downsample = nn.Identity() if same else ConvBN(inputs, outputs, 1, stride)

    def forward(self, x):
        y = F.relu(self.conv1(temporal_shift(x, self.num_segments)))
        y = self.conv2(y)
        y = y if self.conv3 is None else self.conv3(F.relu(y))
        return F.relu(y + self.downsample(x))


class Backbone(nn.Module):
    def __init__(self, depth, num_segments):
        super().__init__()
        bottleneck, stages = DEPTHS[depth]
        self.conv1 = ConvBN(3, 64, 7, 2)
        self.features = 64
        for stage, blocks in enumerate(stages):
            layers = []
            for block in range(blocks):
                planes, stride = 64 * 2**stage, 2 if stage and not block else 1
                layers.append(Block(self.features, planes, stride, bottleneck, num_segments))
                self.features = planes * 4 if bottleneck else planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class TorchTSM(nn.Module):
    """uint8 [b, t, h, w, 3] -> [b, num_classes]. Parameters have MMAction2's names, but for the `net` of the shift."""

    def __init__(self, num_classes=400, depth=50, num_segments=8, dropout=0.5):
        super().__init__()
        self.num_segments = num_segments
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1), persistent=False)
        self.backbone = Backbone(depth, num_segments)
        self.dropout = nn.Dropout(dropout)
        self.cls_head = nn.ModuleDict({"fc_cls": nn.Linear(self.backbone.features, num_classes)})

    def forward(self, video):
        x = video.flatten(0, 1).permute(0, 3, 1, 2)  # of channel-last memory: already channels_last
        x = self.backbone((x.float() - self.mean) / self.std)
        scores = self.cls_head["fc_cls"](self.dropout(x))
        return scores.view(-1, self.num_segments, scores.shape[-1]).mean(1)
