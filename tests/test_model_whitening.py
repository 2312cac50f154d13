import torch
from small_training import TINY, make, shared

from model.whitening import PatchWhitening


def smooth_images(num: int) -> torch.Tensor:
    """Noise with neighbours alike and correlated channels, of mean 0."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(num, 3, 12, 12, generator=generator)
    noise = torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1) + 0.3 * noise
    return noise + noise.mean(1, keepdim=True)


def test_outputs_are_uncorrelated_and_of_variance_one() -> None:
    images = smooth_images(600)
    layer = PatchWhitening(3, 12)
    layer.fit(images)
    outputs = layer(images)[:, :12, 1:-1, 1:-1].transpose(0, 1).flatten(1)  # without the padded border
    torch.testing.assert_close(outputs @ outputs.T / outputs.shape[1], torch.eye(12), rtol=0, atol=5e-3)


def test_filters_come_by_falling_variance_and_with_both_signs() -> None:
    images = smooth_images(300)
    layer = PatchWhitening(3, 5)
    layer.fit(images)
    filters, opposite = torch.split(layer.weight.flatten(1), 5)
    assert torch.equal(filters, -opposite)
    patches = torch.nn.functional.unfold(images, 3).transpose(1, 2).flatten(0, 1)
    directions = filters / filters.norm(dim=1, keepdim=True)
    variances = (patches @ directions.T).square().mean(0)
    assert variances.tolist() == sorted(variances.tolist(), reverse=True)
    largest = torch.linalg.eigvalsh(patches.T @ patches / len(patches)).flip(0)[:5]
    torch.testing.assert_close(variances, largest, rtol=1e-3, atol=0)


def test_only_the_bias_is_learned() -> None:
    layer = PatchWhitening(3, 2)
    assert [name for name, value in layer.named_parameters() if value.requires_grad] == ["bias"]


def test_a_training_fits_its_stem_to_training_images_only() -> None:
    images, changed = shared(), shared()
    changed.images[changed.val_indices] = 0
    name = "blocks.c1.0.body.conv.weight"
    one, other = (make(TINY.changed(stem="whitening"), given).network.state_dict()[name] for given in (images, changed))
    assert one.abs().sum() > 0
    assert torch.equal(one, other)
