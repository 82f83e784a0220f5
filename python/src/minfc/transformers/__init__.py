"""minfc in Hugging Face transformers: importing this package makes attn_implementation="minfc" known. See docs/transformers.md."""

from __future__ import annotations

import inspect

try:
    import transformers as _transformers
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask as _sdpa_mask
except ImportError as e:
    raise ImportError("minfc.install and attn_implementation=\"minfc\" need transformers 5: pip install 'transformers>=5.17'") from e

if "q_offset" not in inspect.signature(_sdpa_mask).parameters:
    raise ImportError(
        f"transformers {_transformers.__version__} does not tell masks where queries are (q_offset): pip install 'transformers>=5.17'"
    )

from ._forward import attention_forward
from ._masks import mask
from ._minference import patch_minference_config
from ._model import NAME, install, uninstall
from ._parallel import RankHeads
from ._report import LayerReport, Report, report
from ._search import Captured, captured, search

__all__ = ["Captured", "LayerReport", "NAME", "RankHeads", "Report", "captured", "install", "patch_minference_config", "report", "search", "uninstall"]

AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, mask)  # without it transformers makes no mask, and padding is attended to
