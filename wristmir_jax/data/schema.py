"""`Record` <-> bytes: the TFDS features of a data set, and a quick decoder of the same bytes.

Records are tf.train.Example protos, written and read without TensorFlow. TFDS decodes them too
(`tfds.builder_from_directory`), from the features that `features` gives; `decode` gives the same
values several times faster, since it knows the fields beforehand.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer
from tensorflow_datasets.proto import tf_example_pb2

from wristmir_jax.data.record import DatasetInfo, Record

# Its attributes are made at run time, where type checkers do not see them.
_EXAMPLE: Any = getattr(tf_example_pb2, "Example")  # noqa: B009

_TEXT = ("image_id", "exam_id", "patient_id", "caption", "findings_json", "source_hash")
_TEXTS = ("caption_phrasings", "region_captions", "region_caption_phrasings")
_FLOAT = ("age_years", "axis_degrees", "pixel_spacing_mm")
_INTEGER = (
    "view",
    "laterality",
    "sex",
    "initial_exam",
    "fracture_visible",
    "fracture",
    "cast",
    "hardware",
    "osteopenia",
)


@dataclasses.dataclass(frozen=True)
class Schema:
    """Sizes that fix the shapes of a record: R regions, S x S films, C x C crops."""

    num_regions: int
    image_size: int
    crop_size: int

    @classmethod
    def of(cls, info: DatasetInfo) -> "Schema":
        return cls(len(info.regions), info.image_size, info.crop_size)

    @property
    def arrays(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Field -> dtype and shape."""
        regions = self.num_regions
        return {
            "image": (np.uint8, (self.image_size, self.image_size)),
            "crops": (np.uint8, (regions, self.crop_size, self.crop_size)),
            "crop_present": (np.uint8, (regions,)),
            "boxes": (np.float32, (regions, 4)),
            "original_size": (np.int32, (2,)),
            "region_status": (np.uint8, (regions,)),
        }

    def features(self) -> tfds.features.FeaturesDict:
        """The features that TFDS reads and writes."""
        names = tfds.features
        by_name: dict[str, Any] = {name: names.Text() for name in _TEXT}
        by_name |= {name: names.Sequence(names.Text()) for name in _TEXTS}
        by_name |= {name: names.Scalar(np.float32) for name in _FLOAT}
        by_name |= {name: names.Scalar(np.int32) for name in _INTEGER}
        by_name |= {
            name: names.Tensor(shape=shape, dtype=dtype, encoding="bytes")
            for name, (dtype, shape) in self.arrays.items()
        }
        return names.FeaturesDict(
            {field.name: by_name[field.name] for field in dataclasses.fields(Record)}
        )


class Encoder:
    """Records of one schema -> bytes; equal records give equal bytes."""

    def __init__(self, schema: Schema):
        self._features = schema.features()
        specs: Any = self._features.get_serialized_info()
        self._serializer = example_serializer.ExampleSerializer(specs)

    def encode(self, record: Record) -> bytes:
        """
        Raises:
            ValueError: an array has another dtype or shape than the schema says.
        """
        fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(Record)}
        example = self._serializer.get_tf_example(self._features.encode_example(fields))
        # Map fields have no order of their own.
        return example.SerializeToString(deterministic=True)


class Decoder:
    """Bytes -> dict with the fields of `Record`; holds nothing that cannot go to a worker."""

    def __init__(self, schema: Schema):
        self._arrays = schema.arrays

    def decode(self, data: bytes) -> dict[str, Any]:
        """Arrays are read-only views of the record's bytes; text is str, the rest int and float."""
        feature = _EXAMPLE.FromString(data).features.feature
        record: dict[str, Any] = {}
        for name in _TEXT:
            record[name] = feature[name].bytes_list.value[0].decode()
        for name in _TEXTS:
            record[name] = [text.decode() for text in feature[name].bytes_list.value]
        for name in _FLOAT:
            record[name] = feature[name].float_list.value[0]
        for name in _INTEGER:
            record[name] = feature[name].int64_list.value[0]
        for name, (dtype, shape) in self._arrays.items():
            record[name] = np.frombuffer(feature[name].bytes_list.value[0], dtype).reshape(shape)
        return record
