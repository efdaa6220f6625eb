"""Recomputed activations change nothing but memory."""

import copy

import pytest
import torch
from tiny import PROGRESS, SETTINGS, batch, learner
from torch import nn

from imcswav.learners.multiview import MultiView
from imcswav.recompute import in_pieces, recompute_blocks, recomputed

WITHOUT_BATCH_NORM = {
    "backbone": {"name": "timm", "model": "vit_tiny_patch16_224", "arguments": {"patch_size": 4, "depth": 2}},
    "heads": SETTINGS["heads"] | {"classifier": {"name": "mlp", "hidden": [6], "width": "clusters", "detach": True}},
}


def step(model):
    """Loss, gradients and buffers after one forward and backward pass, and the bytes kept in between."""
    kept = {}

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = model(batch(), PROGRESS, 3)["loss"]
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, dict(model.named_buffers()), sum(kept.values())


def same(one, other, tolerance=1e-6):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch_norm", ["per_view", "pooled"])
def test_checkpointed_blocks_give_the_same_step(batch_norm):
    plain = learner(batch_norm=batch_norm)
    saving = learner(batch_norm=batch_norm, activation_checkpointing=True)
    assert plain.state_dict().keys() == saving.state_dict().keys()
    loss, gradients, buffers, kept = step(plain)
    loss_again, gradients_again, buffers_again, kept_less = step(saving)
    same(loss, loss_again)
    same(gradients, gradients_again)
    same(buffers, buffers_again)  # every batch counted once in the running statistics
    assert kept_less < 0.7 * kept


def test_micro_batches_without_batch_norm_give_the_whole_batch_s_gradient():
    plain, pieces = learner(**WITHOUT_BATCH_NORM), learner(**WITHOUT_BATCH_NORM, micro_batch=3)
    loss, gradients, _, kept = step(plain)
    loss_again, gradients_again, _, kept_less = step(pieces)
    same(loss, loss_again)
    same(gradients, gradients_again, 1e-5)
    assert kept_less < 0.5 * kept


def test_batch_norm_sees_a_micro_batch_and_counts_it_once():
    model = learner(micro_batch=4, batch_norm="pooled")
    step(model)
    counts = [int(v) for name, v in model.backbone.named_buffers() if name.endswith("num_batches_tracked")]
    assert set(counts) == {4}  # two sizes of crops, two micro-batches of each
    separate = learner(batch_norm="pooled")
    crops = separate.views(batch().images, 3)
    with torch.no_grad():
        for group in crops:
            for piece in group.transpose(0, 1).flatten(0, 1).split(4 * group.shape[0]):
                separate.backbone(piece)
    same(dict(separate.backbone.named_buffers()), dict(model.backbone.named_buffers()))


def test_micro_batches_are_even_so_that_batch_norm_sees_no_lonely_image():
    model = learner(micro_batch=7, batch_norm="pooled")  # 8 images: 7 and 1 until they were cut evenly
    rows = []
    model.backbone.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    step(model)
    views = [len(group) for group in model.views(batch().images, 3)]
    assert sorted(rows) == sorted(4 * [4 * count for count in views])  # two pieces, once more each for the gradient
    assert [model.config.pieces_of(count) for count in (7, 8, 14, 15)] == [1, 2, 2, 3]


def test_a_batch_that_fits_is_not_cut():
    same(step(learner())[1], step(learner(micro_batch=8))[1], 0)


def test_random_draws_are_repeated():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    twin = copy.deepcopy(net)
    x = torch.randn(6, 4)
    torch.manual_seed(1)
    net(x).sum().backward()
    torch.manual_seed(1)
    recomputed(twin, twin, x).sum().backward()
    same([p.grad for p in net.parameters()], [p.grad for p in twin.parameters()], 0)


def test_nothing_is_kept_back_in_evaluation():
    net = nn.Sequential(nn.Linear(4, 2)).eval()
    assert in_pieces(net, net, torch.randn(5, 4).split(2)).shape == (5, 2)
    recompute_blocks(net)
    assert net(torch.randn(5, 4)).grad_fn.name() == "AddmmBackward0"


def test_a_vision_transformer_has_blocks_to_recompute():
    config = MultiView.Config.model_validate(SETTINGS | WITHOUT_BATCH_NORM)
    blocks = config.backbone.build(channels=3, image_size=12).blocks()
    assert [type(block).__name__ for block in blocks] == ["Block", "Block"]
