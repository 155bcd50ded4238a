"""What happens to pixels on the device, inside the compiled step."""

import jax
import jax.numpy as jnp
import ml_collections


def to_tower_frame(pixels_BxHxW: jax.Array, mirrored_B: jax.Array) -> jax.Array:
    """uint8 pixels as acquired -> float32 in [0, 1], mirrored left to right where told so."""
    pixels_BxHxW = pixels_BxHxW.astype(jnp.float32) / 255
    return jnp.where(mirrored_B[:, None, None], pixels_BxHxW[:, :, ::-1], pixels_BxHxW)


def augment(
    key: jax.Array, pixels_BxHxW: jax.Array, config: ml_collections.ConfigDict
) -> jax.Array:
    """Random rotation, scale, shift and intensity, drawn for each image.

    Never a flip: a left wrist that was mirrored is a right one.

    Args:
        key: of jax.random.
        pixels_BxHxW: float32 in [0, 1], square.
        config: `config.augment`: rotation_degrees, scale, shift (fraction of the side), gamma,
            contrast, brightness, noise; each the half-width of its range.

    Returns:
        float32 (B, H, W) in [0, 1]; what comes in from outside is black.
    """
    B, H, W = pixels_BxHxW.shape
    key_geometry, key_intensity, key_noise = jax.random.split(key, 3)
    draw_4xB = jax.random.uniform(key_geometry, (4, B), minval=-1, maxval=1)
    angle_B = jnp.deg2rad(config.rotation_degrees) * draw_4xB[0]
    scale_B = jnp.exp(jnp.log1p(config.scale) * draw_4xB[1])
    cos_B, sin_B = jnp.cos(angle_B) / scale_B, jnp.sin(angle_B) / scale_B
    y_HxW, x_HxW = jnp.meshgrid(
        jnp.arange(H) - (H - 1) / 2, jnp.arange(W) - (W - 1) / 2, indexing="ij"
    )
    shift_B = config.shift * jnp.array([[H], [W]]) * draw_4xB[2:]
    from_y = cos_B[:, None, None] * y_HxW - sin_B[:, None, None] * x_HxW
    from_x = sin_B[:, None, None] * y_HxW + cos_B[:, None, None] * x_HxW
    from_y += shift_B[0][:, None, None] + (H - 1) / 2
    from_x += shift_B[1][:, None, None] + (W - 1) / 2
    pixels_BxHxW = jax.vmap(bilinear)(pixels_BxHxW, from_y, from_x)

    draw_3xB = jax.random.uniform(key_intensity, (3, B, 1, 1), minval=-1, maxval=1)
    gamma = jnp.exp(jnp.log1p(config.gamma) * draw_3xB[0])
    pixels_BxHxW = jnp.maximum(pixels_BxHxW, 1e-4) ** gamma
    contrast = 1 + config.contrast * draw_3xB[1]
    pixels_BxHxW = (pixels_BxHxW - 0.5) * contrast + 0.5 + config.brightness * draw_3xB[2]
    pixels_BxHxW += config.noise * jax.random.normal(key_noise, (B, H, W))
    return jnp.clip(pixels_BxHxW, 0, 1)


def bilinear(pixels_HxW: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Values of an image at fractional rows `y` and columns `x`, 0 outside."""
    H, W = pixels_HxW.shape
    # One ring of black, onto which everything outside is clamped.
    padded = jnp.pad(pixels_HxW, 1)
    y, x = jnp.clip(y + 1, 0, H), jnp.clip(x + 1, 0, W)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    fraction_y, fraction_x = y - top, x - left
    flat = padded.reshape(-1)
    at = top * (W + 2) + left
    upper = flat[at] * (1 - fraction_x) + flat[at + 1] * fraction_x
    lower = flat[at + W + 2] * (1 - fraction_x) + flat[at + W + 3] * fraction_x
    return upper * (1 - fraction_y) + lower * fraction_y
