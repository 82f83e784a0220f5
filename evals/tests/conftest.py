"""What the tests share: the toy tokenizer and the toy text."""

import os

os.environ["MINFC_CACHE"] = "off"  # no cache of the user's makes a test pass

import numpy as np
import pytest
import torch

from minfc_evals import toy
from minfc_evals.tokens import Tokens


@pytest.fixture(autouse=True)
def _inference():
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def tokens():
    return Tokens(toy.tokenizer())


@pytest.fixture(scope="session")
def text(tokens):
    return {name: np.array(tokens.encode(page), np.int32) for name, page in toy.books()["test"].items()}
