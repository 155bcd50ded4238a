"""What a transformer tower is made of, as plain values."""

import dataclasses
from typing import Any, TypeVar

Spec = TypeVar("Spec", bound="TransformerSpec")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerSpec:
    """A stack of transformer blocks.

    Attributes:
        width: features of a token.
        depth: blocks.
        num_heads: of the attention; divides the width.
        mlp_width: hidden features of a block's perceptron; 0 for four times the width.
        activation: gelu, gelu_tanh (its approximation) or quick_gelu (x * sigmoid(1.702 x)).
        norm_first: normalise before attention and perceptron, or after their shortcuts (BERT).
        epsilon: of the layer normalisations.
        frozen_layers: blocks from the input on that are not trained; with them all that is below.
    """

    width: int
    depth: int
    num_heads: int
    mlp_width: int = 0
    activation: str = "gelu_tanh"
    norm_first: bool = True
    epsilon: float = 1e-6
    frozen_layers: int = 0

    @classmethod
    def of(cls: type[Spec], config: Any) -> Spec:
        """From the keys of a recipe; keys that came later take their defaults.

        Raises:
            ValueError: a key that this kind of tower does not have, or sizes that do not divide.
        """
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
        }
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := given.keys() - known:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        spec = cls(**given)
        if spec.width % spec.num_heads:
            raise ValueError(f"width={spec.width} is not a multiple of num_heads={spec.num_heads}")
        if not 0 <= spec.frozen_layers <= spec.depth:
            raise ValueError(f"frozen_layers={spec.frozen_layers} must lie in 0..depth")
        return spec

    @property
    def hidden(self) -> int:
        """Hidden features of a block's perceptron."""
        return self.mlp_width or 4 * self.width


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisionSpec(TransformerSpec):
    """A vision transformer.

    Attributes:
        kind: vit.
        patch_size: pixels.
        num_prefix_tokens: learnt tokens before those of the patches: the class token first, then a
            distillation token or registers.
        input_norm: normalise the tokens before the first block (CLIP).
        pooling: mean over the patches, class for the first prefix token, or attention by a learnt
            query followed by a perceptron (SigLIP).
        projection: features of a linear map without bias behind the pooling; 0 for none.
    """

    kind: str = "vit"
    patch_size: int
    num_prefix_tokens: int = 0
    input_norm: bool = False
    pooling: str = "mean"
    projection: int = 0

    @property
    def out_features(self) -> int:
        return self.projection or self.width


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec(TransformerSpec):
    """A text transformer.

    Attributes:
        input_norm: normalise the token embeddings (BERT).
        final_norm: normalise behind the last block.
        causal: a token sees those before it only (CLIP).
        pooling: mean over the tokens, first, last (also where it is padding: SigLIP), or end for
            the first token `end_id` (CLIP).
        pad_id: token that fills short captions.
        end_id: token that ends a caption, for the pooling `end`.
        sees_padding: whether padding is attended to (SigLIP).
        projection: features of each linear map behind the pooling, with a gelu between two.
        projection_bias: whether these maps have a bias.
    """

    input_norm: bool = False
    final_norm: bool = True
    causal: bool = False
    pooling: str = "mean"
    pad_id: int = 0
    end_id: int = -1
    sees_padding: bool = False
    projection: tuple[int, ...] = ()
    projection_bias: bool = False

    @property
    def out_features(self) -> int:
        return self.projection[-1] if self.projection else self.width
