"""Images in Hugging Face's parquet schema: a struct with the encoded bytes of each."""

from pathlib import Path

from trainables.errors import UsageError

COLUMNS = ("img", "image")  # the names that Hugging Face's image sets use


def encoded_images(path: Path) -> list[bytes]:
    """Read the encoded images of a parquet file, in order. Raises UsageError for another schema."""
    import pyarrow as pa  # here, since other sources do without its 0.5 s
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        column = next((name for name in COLUMNS if name in names), None)
        if column is None:
            raise UsageError(
                f"{path} has the columns {', '.join(names)}: one must be named img or image"
            )
        images = pq.read_table(path, columns=[column])[column].combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} can't be read as parquet: {error}") from error
    is_struct = pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0
    if not is_struct or not len(images):
        raise UsageError(
            f"{path}: column {column} must hold a struct with a field `bytes`, one per image"
        )
    # A row without bytes is no image, which whoever decodes it says with its number
    return [encoded or b"" for encoded in images.field("bytes").to_pylist()]
