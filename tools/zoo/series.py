"""Time-series forecasters: an attention, a mixing, a convolutional and a recurrent one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .reference import Built, Call, Reference, real

__all__ = ["REFERENCES"]

TRANSFORMERS = "Apache-2.0"
OURS = "Apache-2.0"
CHANNELS, CONTEXT, HORIZON = 7, 512, 96  # ETTh1, the field's standard task
WEEK = 168


class TemporalConvolutions(nn.Module):
    """Causal dilated convolutions in residual blocks (Bai, Kolter and Koltun, 2018, figure 1).

    (1, channels, length) to (1, channels, horizon).
    """

    def __init__(self, size: int = 64, levels: int = 6, kernel: int = 3) -> None:
        super().__init__()
        self.pads = [(kernel - 1) << level for level in range(levels)]
        self.first, self.second, self.skip = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in range(levels):
            inputs = CHANNELS if level == 0 else size
            self.first.append(nn.Conv1d(inputs, size, kernel, dilation=1 << level))
            self.second.append(nn.Conv1d(size, size, kernel, dilation=1 << level))
            self.skip.append(nn.Conv1d(inputs, size, 1) if inputs != size else nn.Identity())
        self.head = nn.Linear(size, CHANNELS * HORIZON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for pad, first, second, skip in zip(self.pads, self.first, self.second, self.skip, strict=True):
            y = F.relu(first(F.pad(x, (pad, 0))))
            y = F.relu(second(F.pad(y, (pad, 0))))
            x = F.relu(y + skip(x))
        return self.head(x[:, :, -1]).reshape(-1, CHANNELS, HORIZON)


class Recurrent(nn.Module):
    """A GRU that reads a week and an LSTM that reads its states, with the last state projected to the horizon.

    (1, length, channels) to (1, horizon, channels).
    """

    def __init__(self, size: int = 128) -> None:
        super().__init__()
        self.read = nn.GRU(CHANNELS, size, batch_first=True)
        self.state = nn.LSTM(size, size, num_layers=2, batch_first=True)
        self.head = nn.Linear(size, HORIZON * CHANNELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self.state(self.read(x)[0])[0]
        return self.head(states[:, -1]).reshape(-1, HORIZON, CHANNELS)


def forecast(net: nn.Module, past: Any) -> Any:
    return net(past_values=past).prediction_outputs


def patchtst() -> Built:
    from transformers import PatchTSTConfig, PatchTSTForPrediction

    config = PatchTSTConfig(
        num_input_channels=CHANNELS,
        context_length=CONTEXT,
        prediction_length=HORIZON,
        patch_length=12,
        patch_stride=12,
        d_model=128,
        num_attention_heads=16,
        ffn_dim=512,
        loss="mse",
    )
    inputs = {"past_values": real(1, CONTEXT, CHANNELS)}
    return Built(Call(PatchTSTForPrediction(config), forecast), inputs, ["prediction"])


def patchtsmixer() -> Built:
    from transformers import PatchTSMixerConfig, PatchTSMixerForPrediction

    config = PatchTSMixerConfig(
        num_input_channels=CHANNELS,
        context_length=CONTEXT,
        prediction_length=HORIZON,
        patch_length=16,
        patch_stride=8,
        d_model=48,
        num_layers=3,
        mode="mix_channel",
        loss="mse",
    )
    inputs = {"past_values": real(1, CONTEXT, CHANNELS)}
    return Built(Call(PatchTSMixerForPrediction(config), forecast), inputs, ["prediction"])


def tcn() -> Built:
    return Built(TemporalConvolutions(), {"past_values": real(1, CHANNELS, CONTEXT)}, ["prediction"])


def recurrent() -> Built:
    return Built(Recurrent(), {"past_values": real(1, WEEK, CHANNELS)}, ["prediction"])


REFERENCES = (
    Reference(
        "patchtst",
        "time series",
        "transformers PatchTSTForPrediction, ibm-granite/granite-timeseries-patchtst sizes",
        TRANSFORMERS,
        patchtst,
    ),
    Reference(
        "patchtsmixer",
        "time series",
        "transformers PatchTSMixerForPrediction, 7 channels, 512 past and 96 future steps, channels mixed",
        TRANSFORMERS,
        patchtsmixer,
        opset=18,
    ),
    Reference("tcn", "time series", "here, after Bai, Kolter and Koltun (2018)", OURS, tcn, opset=18),
    Reference("gru-lstm", "time series", "here, a GRU under a two-layer LSTM", OURS, recurrent),
)
