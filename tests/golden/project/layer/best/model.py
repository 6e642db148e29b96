"""8 to 2 outputs."""

import torch
from torch import nn
from torch.nn import functional as F


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.gated1 = nn.Linear(8, 128)
        self.gated2 = nn.Linear(64, 128)
        self.gated3 = nn.Linear(64, 32)
        self.gated4 = nn.Linear(16, 128)
        self.gated5 = nn.Linear(64, 32)
        self.norm1 = nn.LayerNorm(16)
        self.gated6 = nn.Linear(16, 64)
        self.gated7 = nn.Linear(32, 128)
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        x = F.glu(self.gated1(x))  # 64
        x = F.glu(self.gated2(x))  # 64
        x = F.glu(self.gated3(x))  # 16
        x = F.glu(self.gated4(x))  # 64
        x = F.glu(self.gated5(x))  # 16
        x = self.norm1(x)  # 16
        x = F.glu(self.gated6(x))  # 32
        x = F.glu(self.gated7(x))  # 64
        x = self.head(x)  # 2
        return x


# Of the train split of vectors. One example is 8, batch first.
MEAN = torch.tensor([0.027402887120842934, -0.17552867531776428, -0.09037014842033386, 0.1099822148680687, -0.05219750851392746, -0.16071628034114838, -0.014303424395620823, 0.11762254685163498])
STD = torch.tensor([0.9614383578300476, 0.9020137190818787, 0.9342578053474426, 1.0865925550460815, 1.015421986579895, 0.9092074632644653, 0.9946984052658081, 1.008667230606079])
LABELS = ['0', '1']


def preprocess(examples):
    """A batch of raw examples (array or tensor) as the network takes it."""
    return (torch.as_tensor(examples).float() - MEAN) / STD


def predict(network, examples):
    """The label of each raw example."""
    with torch.no_grad():
        return [LABELS[i] for i in network(preprocess(examples)).argmax(1)]
