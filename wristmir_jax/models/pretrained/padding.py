"""Which token fills short captions."""

from wristmir_jax.models.pretrained.folder import CheckpointFolder


def pad_id(folder: CheckpointFolder, default: int) -> int:
    """The padding token of the folder's tokenizer, which towers that see padding depend on.

    Args:
        folder: the checkpoint.
        default: of the model's config, where the tokenizer's files name none.
    """
    tokenizer = folder.read_json("tokenizer.json")
    token = folder.read_json("tokenizer_config.json").get("pad_token")
    token = token["content"] if isinstance(token, dict) else token
    for added in tokenizer.get("added_tokens", ()):
        if added["content"] == token:
            return added["id"]
    return (tokenizer.get("padding") or {}).get("pad_id", default)
