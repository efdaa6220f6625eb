"""Settings of the multi-view learner."""

from __future__ import annotations

import difflib
import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator
from torch import nn

from imcswav.backbones import Backbone
from imcswav.errors import Problem
from imcswav.heads import Head, named_heads
from imcswav.learners import Learner, RecipeFacts
from imcswav.learners._bank import BankSettings
from imcswav.learners._heads import path, sorted_heads
from imcswav.learners._multiview_checks import check_multiview
from imcswav.learners._teacher import TeacherSettings
from imcswav.losses import Loss
from imcswav.part import Part
from imcswav.step import TEACHER, split
from imcswav.views import Views


class MultiViewConfig(Learner.Config):
    """Settings of the learner 'multiview'."""

    views: Annotated[Views.Config, Part("views")]
    """How crops are made."""
    backbone: Annotated[Backbone.Config, Part("backbone")]
    """Images to features."""
    heads: dict[str, Annotated[Head.Config, Part("head")]] = Field(min_length=1)
    """Networks on the features, by the name losses and other heads use."""
    losses: list[Annotated[Loss.Config, Part("loss")]] = Field(min_length=1)
    """Summed with their weights."""
    batch_norm: Literal["per_view", "pooled"] = "per_view"
    """Statistics of each view apart, as published, or of a group of crops together, which is faster."""
    activation_checkpointing: bool = False
    """Recompute each block's activations in the backward pass: a third more operations, much less memory;
    the network that trains is then not compiled."""
    micro_batch: int | None = Field(None, ge=2)
    """Encode so many images (all their crops of a size) at a time and recompute them in the backward pass. Codes
    and losses still see the whole batch; only batch norm sees a micro-batch. Pieces are as even as they can be.
    Unset: all at once."""
    bank: BankSettings | None = None
    """Take some losses on a subset of the images only, collected over several batches."""
    teacher: TeacherSettings | None = None
    """A moving average of the network; losses read its outputs on the first group of crops as "teacher.<head>"."""
    assignment: str = "classifier"
    """The head whose largest logit is an image's cluster; without such a head a clusterer must assign.
    "teacher.classifier" assigns by the teacher, and features then are the teacher's too."""

    @field_validator("heads", mode="before")
    @classmethod
    def _misspelt(cls, heads: Any) -> Any:
        """Settings for a head that isn't there are more likely meant for one that is."""
        tables = heads if isinstance(heads, dict) else {}
        named = [key for key, table in tables.items() if not isinstance(table, dict) or "name" in table]
        for key in tables.keys() - set(named):
            if close := difflib.get_close_matches(str(key), named, n=1):
                raise ValueError(f"there is no head '{key}': write '{close[0]}', or give a new head a name")
        return heads

    @field_validator("heads")
    @classmethod
    def _names(cls, heads: dict[str, Head.Config]) -> dict[str, Head.Config]:
        for name in heads:
            # torch keeps modules as attributes beside its own methods
            if not name or "." in name or name == "features" or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"a head can't be called '{name}': choose another name, without a dot")
        return heads

    def sampled(self, images: int) -> Self:
        """With a bank that so few images fill."""
        if self.bank is None:
            return self
        return self.model_copy(update={"bank": self.bank.model_copy(update={"images": images})})

    def order(self) -> list[str]:
        """Heads sorted so that each comes after the one it reads; raises ValueError on a cycle or a gap."""
        return sorted_heads(self.heads)

    def read(self) -> list[str]:
        """The heads that losses read, and the one that assigns."""
        return [*(name for loss in self.losses for name in named_heads(loss).values()), self.assignment]

    def taught(self) -> list[str]:
        """The heads that the teacher needs a copy of, in the order they run."""
        read = [split(name) for name in self.read()]
        wanted = {name for branch, head in read if branch == TEACHER for name in path(self.heads, head)}
        return [name for name in self.order() if name in wanted]

    def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
        """Names of heads, crop sizes against the backbone, and prototypes against the batch."""
        return check_multiview(self, facts)

    def pieces_of(self, images: int) -> int:
        """How many micro-batches a batch is cut into; even ones, so that batch norm sees no lonely last image."""
        return 1 if self.micro_batch is None else math.ceil(images / self.micro_batch)

    def in_one_piece(self) -> bool:
        """Whether a branch's forward pass is one function to a compiler."""
        return not self.activation_checkpointing and self.micro_batch is None
